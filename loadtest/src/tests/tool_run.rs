//! Runs of the whole tool by its command line.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use serde_json::Value;

use crate::args::{Cli, CliCommand};
use crate::run;

/// Result of a run.
pub(super) struct ToolRun {
    pub(super) passed: Result<bool, String>,
    /// Null if there is none.
    pub(super) report: Value,
    pub(super) history: String,
}

/// Executes `run` with these arguments and a folder for the report.
pub(super) fn run_tool(arguments: &str) -> ToolRun {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("rookery-loadtest-{}-{number}", std::process::id()));
    let line = format!("x run {arguments} --report {}", folder.display());
    let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let CliCommand::Run(args) = Cli::try_parse_from(&line).unwrap().command else {
        unreachable!()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let passed = tokio::task::LocalSet::new().block_on(&runtime, run::run(&args, line));
    let report = std::fs::read(folder.join("report.json")).unwrap_or_default();
    let history = std::fs::read_to_string(folder.join("history.txt")).unwrap_or_default();
    let _ = std::fs::remove_dir_all(folder);
    ToolRun {
        passed: passed.map_err(|error| error.to_string()),
        report: serde_json::from_slice(&report).unwrap_or_default(),
        history,
    }
}
