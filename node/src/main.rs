//! The `rookery` program.

use std::process::ExitCode;

use clap::Parser;
use node::cli::Cli;

/// The work is done on threads of the gateway and of the cluster; this one starts, waits and stops.
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
    // A read of the keyboard that is under way can't be ended, and need not be waited for.
    runtime.shutdown_background();
    code
}
