//! Prints what is in a data directory: shards, log bounds, hard state, table sizes. Works beside a running node.
//!
//! ```text
//! cargo run -p rookery --example inspect -- rookery-data/storage
//! ```

use std::path::Path;
use std::process::ExitCode;

use node::testkit::TABLES;
use storage::inspect::InspectReport;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: inspect <data directory>");
        return ExitCode::from(64);
    };
    match InspectReport::read(TABLES, Path::new(&path)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
