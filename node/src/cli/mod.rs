//! Command line of the `rookery` program.

// First, for its macros.
#[macro_use]
mod stdio;

mod audit;
mod backup;
mod banner;
mod certs;
mod children;
mod completions;
mod ctl;
mod dev;
mod local_cluster;
mod man;
mod node;
mod node_client;
mod probe;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use chat_client::ChatArgs;
use clap::{Args, Parser, Subcommand};
use figment::value::Value;

use crate::backup::BackupError;
use crate::config::{Config, ConfigSources, Problems, load};
use crate::{lifecycle, telemetry};

/// Exit codes, for `--help`; docs/operations.md has the same list.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or refused, 2 usage, 3 node unreachable, 4 not allowed, \
    5 outcome unknown, 6 degraded or not ready, 64 configuration.";

/// A clustered chat server.
#[derive(Parser)]
#[command(name = "rookery", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one node for development: data in ./rookery-data, `dev:<user>` tokens, no other service needed.
    Dev(dev::Dev),
    /// Runs a node of a cluster from a configuration file.
    Node(node::NodeArgs),
    /// Runs a local cluster of real processes, for development and tests.
    Cluster(local_cluster::LocalCluster),
    /// Runs a small terminal client for chatting with a node.
    Chat(ChatArgs),
    /// Prints every setting with its default.
    Config,
    /// Prints a description of the interface, which a running node serves as well.
    Schema(schema::Schema),
    /// Runs a command of an operator against running nodes.
    Ctl(ctl::Ctl),
    /// Prints the completions of a shell for these commands.
    Completions(completions::Completions),
    /// Writes the man pages of all commands.
    Man(man::Man),
    /// Makes the certificates for TLS between nodes, and shows any certificate.
    Certs(certs::Certs),
    /// Compares the replicas of every shard by their digests.
    Audit(audit::Audit),
    /// Makes and checks backups of a cluster.
    Backup(backup::Backup),
    /// Makes a data directory from a backup, for the first node of a new cluster.
    Restore(backup::Restore),
}

/// Settings given on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// Overrides a setting, e.g. `--set session.idle_timeout=60s`. Can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// Error that ends the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The node could not start.
    #[error("{0}")]
    Start(#[from] lifecycle::Error),
    /// A local cluster could not start.
    #[error("{0}")]
    Children(String),
    /// The chat client was refused by the server.
    #[error("{0}")]
    Chat(String),
    /// A certificate could not be made or read.
    #[error("{0}")]
    Certificate(String),
    /// No node answered at the address.
    #[error("{0}: no answer")]
    Unreachable(String),
    /// The admin token is missing, unknown, or lacks the role.
    #[error("not allowed: {0}")]
    NotAllowed(String),
    /// The node refuses the request.
    #[error("{url}: {reason}")]
    Refused { url: String, reason: String },
    /// Replicas differ, or could not be compared.
    #[error("{0}")]
    Audit(String),
    /// A backup could not be made, is damaged, or cannot be restored.
    #[error("{0}")]
    Backup(#[from] BackupError),
    /// A file or terminal operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

// === impl Cli ===

impl Cli {
    /// Runs the selected subcommand.
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
            Command::Schema(schema) => {
                schema.print();
                Ok(())
            }
            // With exit codes of its own.
            Command::Ctl(ctl) => return ctl.run().await,
            Command::Completions(completions) => {
                completions.print::<Cli>();
                Ok(())
            }
            Command::Man(man) => man.write::<Cli>().map_err(Error::Io),
            Command::Certs(certs) => certs.run(),
            Command::Audit(audit) => audit.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Restore(restore) => restore.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rookery: {error}");
                ExitCode::from(error.exit_code())
            }
        }
    }
}

// === impl Error ===

impl Error {
    /// Returns the exit code, one of [`EXIT_CODES`]. Wrong arguments end with 2 before any command runs.
    fn exit_code(&self) -> u8 {
        match self {
            Error::Start(_)
            | Error::Children(_)
            | Error::Chat(_)
            | Error::Certificate(_)
            | Error::Refused { .. }
            | Error::Audit(_)
            | Error::Backup(_)
            | Error::Io(_) => 1,
            Error::Unreachable(_) => 3,
            Error::NotAllowed(_) => 4,
            // EX_USAGE of sysexits.h: a restart does not help, the caller has to fix the configuration.
            Error::Config(_) => 64,
        }
    }
}

/// Starts a node in this process.
async fn serve(config: Config) -> Result<lifecycle::Running, Error> {
    // Before the start, whose warnings would be lost otherwise.
    telemetry::logging::init(&config.telemetry);
    // Each connection needs a file descriptor, and many systems default to 1,024.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "could not raise RLIMIT_NOFILE"),
    }
    let running = lifecycle::start(config).await?;
    // Not the readiness for clients, which needs other nodes: a service manager that starts one node after another
    // would wait for ever after an outage of all.
    lifecycle::notify_service_manager("READY=1");
    Ok(running)
}

/// Loads the configuration of a node.
fn configure(
    preset: Vec<(&'static str, Value)>,
    file: Option<&PathBuf>,
    set: SettingArgs,
) -> Result<Config, Error> {
    let sources = ConfigSources {
        preset,
        file: file.map(PathBuf::as_path),
        environment: true,
        set: set.set,
    };
    Ok(load(&sources)?)
}

/// Returns the port of MQTT for a node with this port of HTTP: the registered one for the default, otherwise one at a fixed
/// distance.
fn mqtt_port(http: u16) -> u16 {
    const DISTANCE: u16 = 3_000;
    match http {
        0 => 0,
        8_080 => 1_883,
        // Subtracted for high ports, where the sum would exceed 65535.
        port => port.checked_add(DISTANCE).unwrap_or(port - DISTANCE),
    }
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
    fn port_of_mqtt_follows_that_of_http() {
        assert_eq!(
            [0, 8_080, 9_000, 65_000].map(mqtt_port),
            [0, 1_883, 12_000, 62_000]
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
