//! The command line.

mod banner;
mod children;
mod dev;
mod local_cluster;
mod node;
mod probe;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use figment::value::Value;

use crate::config::{Config, Problems, Sources, load};
use crate::{chat, run, telemetry};

/// A clustered chat server.
#[derive(Parser)]
#[command(name = "rookery", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one node for development: data in ./rookery-data, `dev:<user>` tokens, no other service needed.
    Dev(dev::Dev),
    /// Runs a node.
    Node(node::Node),
    /// Runs a local cluster of real processes, for development and tests.
    Cluster(local_cluster::LocalCluster),
    /// A small terminal client.
    Chat(chat::Chat),
    /// Prints every setting with its default.
    Config,
}

/// Settings given on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct Set {
    /// Overrides a setting, e.g. `--set session.idle_timeout_ms=2000`. Can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration: fix it.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The node could not start.
    #[error("{0}")]
    Start(#[from] run::Error),
    /// A local cluster could not start.
    #[error("{0}")]
    Children(String),
    /// The chat client.
    #[error("{0}")]
    Chat(String),
    /// A file or the terminal.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

// === impl Cli ===

impl Cli {
    /// Runs what the command line asks for.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Dev(dev) => dev.run().await,
            Command::Node(node) => node.run().await,
            Command::Cluster(cluster) => cluster.run().await,
            Command::Chat(chat) => chat.run().await.map_err(Error::Chat),
            Command::Config => {
                print!("{}", crate::config::example());
                Ok(())
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rookery: {error}");
                // EX_USAGE of sysexits.h for what the caller has to fix.
                ExitCode::from(if matches!(error, Error::Config(_)) { 64 } else { 1 })
            }
        }
    }
}

/// Starts a node in this process.
async fn serve(config: Config) -> Result<run::Running, Error> {
    telemetry::logging::init(&config.telemetry);
    // Each connection is an open file, and a thousand is what many systems begin with.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    Ok(run::start(config).await?)
}

/// Reads the configuration of a node.
fn configure(preset: Vec<(&'static str, Value)>, file: Option<&PathBuf>, set: Set) -> Result<Config, Error> {
    let sources = Sources {
        preset,
        file: file.map(PathBuf::as_path),
        environment: true,
        set: set.set,
    };
    Ok(load(&sources)?)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
