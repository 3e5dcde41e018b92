//! Load test for a Rookery cluster: generates load, injects faults, and verifies every delivery promise.
//!
//! It uses the public protocol alone, like any client. `run` drives a scenario. The clients report every
//! acknowledgement and every event to the oracle, whose verdict covers all of them.
//!
//! The modules stand in the order of their layers, leaf first: a module imports only from those above it. The blank
//! lines keep the formatter from sorting them.

mod clock;

mod payload;

mod server_internals;

mod wire;

#[cfg(test)]
mod fake_server;

mod http;

mod session;

mod pacing;

mod spec;

mod args;

mod setup;

mod oracle;

mod recording;

mod measure;

mod progress;

mod network_proxy;

mod cluster;

mod fault;

mod load;

mod report;

mod distributed;

mod run;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, CliCommand};
use crate::distributed::work;
use crate::load::permit_many_files;
use crate::report::compare::compare;
use crate::report::dated_report::collect;
use crate::spec::Scenario;

fn main() -> ExitCode {
    let cli = Cli::parse();
    permit_many_files();
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
            CliCommand::Worker(args) => Ok(work(args).await?),
            CliCommand::Compare(args) => {
                compare(&args.a, &args.b, args.report.as_deref())?;
                Ok(true)
            }
            CliCommand::Collect(args) => {
                collect(&args.runs, &args.out)?;
                Ok(true)
            }
            CliCommand::Failover(args) => run::failover(args).await,
            CliCommand::Judge(args) => Ok(recording::judge(&args.recording)?),
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
