//! The `rookery` program.

use std::process::ExitCode;

use clap::Parser;
use node::cli::Cli;

/// The work is done on threads of the gateway and of the cluster; this one starts, waits and stops.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
