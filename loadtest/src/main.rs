//! Loads a Rookery cluster, breaks it, and proves what was delivered. Speaks the public protocol only, like any
//! client: `run` drives a scenario, its clients report every ack and every event to the oracle, and the verdict is
//! over all of them.

mod brake;
mod cli;
mod client;
mod clock;
mod crew;
mod crowd;
mod dial;
mod disk;
mod failover;
#[cfg(test)]
mod fake;
mod fault;
mod findmax;
mod hostile;
mod http;
mod links;
mod local;
mod many;
mod measure;
mod mqtt;
mod oracle;
mod pacing;
mod payload;
mod progress;
mod reads;
mod replicas;
mod report;
mod run;
mod scenario;
mod session;
mod stage;
mod target;
mod team;
#[cfg(test)]
mod tests;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::report::book::collect;
use crate::report::compare::compare;
use crate::scenario::Scenario;

fn main() -> ExitCode {
    let cli = Cli::parse();
    dial::permit_many_files();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // One thread: the oracle hears everything in one order and needs no lock.
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, async {
        match &cli.command {
            Command::Scenarios => {
                scenarios();
                Ok(true)
            }
            Command::Run(args) => run::run(args, std::env::args().collect()).await,
            Command::Worker(args) => team::work(args).await,
            Command::Compare(args) => {
                compare(&args.a, &args.b, args.report.as_deref())?;
                Ok(true)
            }
            Command::Collect(args) => {
                collect(&args.runs, &args.out)?;
                Ok(true)
            }
            Command::Failover(args) => failover::failover(args).await,
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
