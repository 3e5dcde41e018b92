//! Entry point of the `rookery` program.

use std::process::ExitCode;

use clap::Parser;
use node::cli::Cli;

/// Runs the command line. The threads of the gateway and the cluster do the work; this thread starts, waits and stops.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rookery: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run());
    // A blocking read of the keyboard cannot be cancelled, and a normal drop of the runtime would wait for it.
    runtime.shutdown_background();
    code
}
