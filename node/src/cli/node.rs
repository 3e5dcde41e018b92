//! `rookery node`: one node of a cluster, from a configuration file.

use std::path::PathBuf;

use clap::Args;

use super::{Error, SettingArgs, configure, serve};
use crate::config::Config;
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
    /// Accepts members whose data is older than it was, while all nodes are restored from copies. Start without it
    /// afterwards: such a member has otherwise lost votes or messages that it had acknowledged, and is refused.
    #[arg(long)]
    accept_older_disks: bool,
    /// Makes this node the only member of its cluster, after a majority of the nodes was lost for good. LOSES every
    /// acknowledged message that only the lost nodes had. Refused while another member runs. The lost nodes are never
    /// admitted again; start without it afterwards, and add new nodes.
    #[arg(long)]
    unsafe_recover: bool,
    /// Stops when standard input ends, so that a node of a local cluster ends with its parent.
    #[arg(long, hide = true)]
    with_parent: bool,
    #[command(flatten)]
    set: SettingArgs,
}

// === impl NodeArgs ===

impl NodeArgs {
    pub(super) async fn run(self) -> Result<(), Error> {
        let with_parent = self.with_parent;
        let config = self.into_config()?;
        shutdown::outlive_reload();
        let accepts_older = config.accept_older_disks;
        let running = serve(config).await?;
        if accepts_older {
            tracing::warn!("older data of members is accepted, start without --accept-older-disks next time");
        }
        shutdown::over(with_parent).await;
        shutdown::or_again(running.stop()).await;
        Ok(())
    }

    fn into_config(self) -> Result<Config, Error> {
        let mut set = self.set;
        // Appended last, so that the flag overrides all other sources.
        if self.dev {
            set.set.push(("auth.dev_tokens".to_owned(), "true".to_owned()));
        }
        let config = configure(Vec::new(), Some(&self.config), set)?;
        Ok(Config {
            accept_older_disks: self.accept_older_disks,
            unsafe_recover: self.unsafe_recover,
            ..config
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Command line of the arguments alone.
    #[derive(Parser)]
    struct NodeCommand {
        #[command(flatten)]
        args: NodeArgs,
    }

    #[test]
    fn older_disks_are_accepted_only_by_the_flag_of_this_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "[cluster]\nseeds = [\"127.0.0.1:9080\"]\n").unwrap();
        let accepts = |flags: &[&str]| {
            let line = ["node", "--dev", "--config", path.to_str().unwrap()];
            let line = line.iter().chain(flags);
            let config = NodeCommand::parse_from(line).args.into_config().unwrap();
            cluster::Config::from(&config).trust_disks
        };
        assert!(!accepts(&[]));
        assert!(accepts(&["--accept-older-disks"]));
    }
}
