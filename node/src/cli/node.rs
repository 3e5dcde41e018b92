//! `rookery node`: one node of a cluster, as configured.

use std::path::PathBuf;

use clap::Args;

use super::{Error, Set, configure, serve};
use crate::shutdown;

/// `rookery node`.
#[derive(Args)]
pub(super) struct Node {
    /// The configuration, a TOML file; `rookery config` prints one.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Believes `dev:<user>` tokens from anybody. For development only.
    #[arg(long)]
    dev: bool,
    /// Stops when standard input ends: a local cluster's nodes end with it.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(flatten)]
    set: Set,
}

// === impl Node ===

impl Node {
    pub(super) async fn run(self) -> Result<(), Error> {
        let Node {
            config,
            dev,
            with_parent,
            mut set,
        } = self;
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
