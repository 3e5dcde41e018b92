//! `rookery node`: one node of a cluster, from a configuration file.

use std::path::PathBuf;

use clap::Args;

use super::{Error, SettingArgs, configure, serve};
use crate::lifecycle::shutdown;

/// Arguments of `rookery node`.
#[derive(Args)]
pub(super) struct NodeArgs {
    /// The configuration file (TOML); `rookery config` prints an example.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Accepts `dev:<user>` as a token from any client. For development only.
    #[arg(long)]
    dev: bool,
    /// Stops when standard input ends, so that a node of a local cluster ends with its parent.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(flatten)]
    set: SettingArgs,
}

// === impl NodeArgs ===

impl NodeArgs {
    pub(super) async fn run(self) -> Result<(), Error> {
        let NodeArgs {
            config,
            dev,
            with_parent,
            mut set,
        } = self;
        // Appended last, so that the flag overrides all other sources.
        if dev {
            set.set.push(("auth.dev_tokens".to_owned(), "true".to_owned()));
        }
        let config = configure(Vec::new(), Some(&config), set)?;
        let running = serve(config).await?;
        shutdown::over(with_parent).await;
        shutdown::or_again(running.stop()).await;
        Ok(())
    }
}
