//! Load test for a Rookery cluster: generates load, injects faults, and verifies every delivery promise.
//!
//! It uses the public protocol alone, like any client. `run` drives a scenario. The clients report every
//! acknowledgement and every event to the oracle, whose verdict covers all of them.

mod cli;
mod client;
mod client_pool;
mod clock;
mod connector;
mod disk;
mod distributed;
mod failover;
#[cfg(test)]
mod fake_server;
mod fault;
mod findmax;
mod hostile;
mod http;
mod load_source;
mod local;
mod many;
mod measure;
mod mqtt;
mod network_proxy;
mod oracle;
mod pacing;
mod payload;
mod progress;
mod reads;
mod replicas;
mod report;
mod run;
mod scenario;
mod schedule;
mod session;
mod slow_disk;
mod target;
#[cfg(test)]
mod tests;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, CliCommand};
use crate::report::compare::compare;
use crate::report::dated_report::collect;
use crate::scenario::Scenario;

fn main() -> ExitCode {
    let cli = Cli::parse();
    connector::permit_many_files();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A single thread: the oracle gets all events in one order, and needs no lock.
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, async {
        match &cli.command {
            CliCommand::Scenarios => {
                scenarios();
                Ok(true)
            }
            CliCommand::Run(args) => run::run(args, std::env::args().collect()).await,
            CliCommand::Worker(args) => distributed::work(args).await,
            CliCommand::Compare(args) => {
                compare(&args.a, &args.b, args.report.as_deref())?;
                Ok(true)
            }
            CliCommand::Collect(args) => {
                collect(&args.runs, &args.out)?;
                Ok(true)
            }
            CliCommand::Failover(args) => failover::failover(args).await,
        }
    });
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn scenarios() {
    for scenario in Scenario::ALL {
        let defaults = scenario.defaults();
        println!(
            "{}: {} (by default {}/s for {:?}, {} bytes)",
            scenario.name(),
            scenario.about(),
            defaults.rate,
            defaults.duration,
            defaults.size
        );
        for parameter in scenario.parameters() {
            println!(
                "    -p {}={}  {}",
                parameter.name, parameter.default, parameter.doc
            );
        }
    }
}
