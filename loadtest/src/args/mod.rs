//! Command line of the load test.

mod find_max;
mod scenario_ref;
mod source_addresses;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::find_max::FindMax;
pub(crate) use self::scenario_ref::ScenarioRef;
pub(crate) use self::source_addresses::SourceAddresses;
use crate::pacing::ArrivalProcess;
use crate::pacing::rate_curve::RateRange;
use crate::spec::{Fault, FaultKind, RandomFaults, parse_duration};
use crate::wire::Wire;

/// Loads a Rookery cluster, injects faults, and verifies every delivery promise.
///
/// Exit code 0: every promise was kept. Exit code 2: a promise was broken. Exit code 1: the run could not be made.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum CliCommand {
    /// Lists the scenarios and their parameters.
    Scenarios,
    /// Runs one built-in scenario, or a scenario file.
    Run(Box<RunArgs>),
    /// Runs a slice of the clients of a run that a coordinator process directs.
    Worker(WorkerArgs),
    /// Prints the differences between two report.json files.
    Compare(CompareArgs),
    /// Builds one dated report from the reports of many runs, as written by scripts/report.sh.
    Collect(CollectArgs),
    /// Measures, per shard, the time without acknowledgements after a fault of the shard owner.
    Failover(FailoverArgs),
    /// Judges what clients of another program recorded: the messages they sent, and what they were shown.
    Judge(JudgeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The name of a scenario (see `scenarios`), or the path of a file that ends in .toml.
    #[arg(value_name = "SCENARIO")]
    pub(crate) what: ScenarioRef,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) find: FindMax,
    #[command(flatten)]
    pub(crate) connections: Connections,
    #[command(flatten)]
    pub(crate) team: TeamArgs,
    /// Injects a fault, for example kill-owner@20s, stop-any@5s+8s, cut-1:3@10s or roll-all@10s; may be repeated. Needs
    /// --local.
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<Fault>,
    /// Reads the faults from this file (format: docs/loadtest.md). Needs --local.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Draws N faults from the seed, spread over the time of the load or, with @WITHIN, over its beginning. Needs
    /// --local.
    #[arg(long = "faults", value_name = "random:N[@WITHIN]")]
    pub(crate) random: Option<RandomFaults>,
    /// Writes report.json and report.html (and history.txt after a violation) to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Measures ten fdatasyncs a second beside the nodes' data during the load. Needs --local.
    #[arg(long)]
    pub(crate) probe_disk: bool,
    /// Skips the read-back of all conversation logs at the end of the run.
    #[arg(long)]
    pub(crate) no_readback: bool,
}

/// Default rate of probe reads per second: frequent enough to cover any moment, too rare to cost anything.
const READS: f64 = 20.0;
/// Default rate with faults: frequent enough that each node answers one within an outage of some hundred milliseconds.
const READS_WITH_FAULTS: f64 = 150.0;

/// Options for the connections of one process.
#[derive(Args, Debug)]
pub(crate) struct Connections {
    /// Source addresses of the connections, used in turn; one address carries about 28,000 connections. Addresses or
    /// ranges, as in 127.0.0.2-127.0.0.9,127.0.1.1.
    #[arg(
        long = "source",
        visible_alias = "sources",
        value_name = "ADDRESSES",
        value_delimiter = ','
    )]
    sources: Vec<SourceAddresses>,
    /// Opens at most this many connections a second [default: unlimited].
    #[arg(long, value_name = "RATE")]
    pub(crate) connect_rate: Option<f64>,
}

/// Options for the distribution of the clients over several processes.
#[derive(Args, Debug)]
pub(crate) struct TeamArgs {
    /// Runs no clients itself, and listens at this host:port for the workers that run them.
    #[arg(long, value_name = "ADDRESS", requires = "workers")]
    pub(crate) coordinator: Option<String>,
    /// The number of workers that share the clients.
    #[arg(long, requires = "coordinator", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: Option<u32>,
    /// The shared secret that a worker must present. It is sent unencrypted: use a trusted network.
    #[arg(long, env = "ROOKERY_LOADTEST_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct WorkerArgs {
    /// The address of the coordinator, host:port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) coordinator: String,
    /// The shared secret that the coordinator requires. It is sent unencrypted: use a trusted network.
    #[arg(long, env = "ROOKERY_LOADTEST_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    #[command(flatten)]
    pub(crate) connections: Connections,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// A report.json, or the directory that holds it.
    pub(crate) a: PathBuf,
    /// The report.json to compare with, or the directory that holds it.
    pub(crate) b: PathBuf,
    /// Writes compare.html, with both runs in each chart, to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CollectArgs {
    /// The directory that holds one directory per run.
    pub(crate) runs: PathBuf,
    /// Writes README.md, figures.json and the plots to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    /// The addresses of the nodes of a running cluster, as host:port.
    #[arg(
        long,
        value_delimiter = ',',
        required_unless_present = "local",
        conflicts_with = "local"
    )]
    pub(crate) nodes: Vec<String>,
    /// The addresses for operators of the same nodes in the same order, as host:port, for metrics and digests of replicas.
    /// The harness has no admin token, so this needs nodes with development tokens [default: those of --nodes].
    #[arg(long, value_delimiter = ',', conflicts_with = "local")]
    pub(crate) admin_nodes: Vec<String>,
    /// Starts a cluster of this many nodes on this machine, with the `rookery` binary beside this one.
    #[arg(long, value_name = "NODES")]
    pub(crate) local: Option<usize>,
    /// The data directory of the local cluster [default: a temporary directory, removed after the run].
    #[arg(long, requires = "local")]
    pub(crate) data: Option<PathBuf>,
    /// The HTTP port of the local cluster's first node; the other nodes use the ports after it.
    #[arg(long, default_value_t = 18080, requires = "local")]
    pub(crate) http_base: u16,
    /// Sets a configuration key on all nodes of the local cluster, key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "local")]
    pub(crate) settings: Vec<String>,
    /// The nodes are brokers of MQTT 3.1.1, of any kind: each conversation is a topic, at QoS 1.
    #[arg(long, conflicts_with = "local")]
    pub(crate) broker: bool,
    /// The guarantee of an acknowledgement, as text for the report; detected only for nodes that publish it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) guarantee: Option<String>,
    /// The process ids of the nodes, in the order of --nodes, to measure their CPU and memory; only if they run on this
    /// machine.
    #[arg(
        long = "pid",
        value_name = "PIDS",
        value_delimiter = ',',
        conflicts_with = "local"
    )]
    pub(crate) pids: Vec<u32>,
    /// The token of a client; {user} is replaced by its user name. For a broker user=password, or empty for none.
    #[arg(long, default_value = "dev:{user}")]
    pub(crate) token: String,
}

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// The protocol of the clients; several are used in turn, so that the members of a conversation differ [default:
    /// the scenario file's, or native].
    #[arg(long = "wire", value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) wires: Vec<Wire>,
    /// Messages per second of all senders together, on a fixed schedule that does not wait for acknowledgements (open
    /// loop). 100..2000 is a ramp over the duration.
    #[arg(long, conflicts_with_all = ["window", "steps"])]
    pub(crate) rate: Option<RateRange>,
    /// Several rates, one after the other, each for an equal part of the duration.
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', conflicts_with = "window")]
    pub(crate) steps: Vec<f64>,
    /// The distribution of the gaps in the schedule [default: poisson].
    #[arg(long)]
    pub(crate) arrival: Option<ArrivalProcess>,
    /// Unacknowledged messages per sender; each acknowledgement releases the next message (closed loop).
    #[arg(long)]
    pub(crate) window: Option<usize>,
    /// The duration of the load [default: the scenario's].
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Ends the load after this many messages.
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// The number of clients; short for -p clients=N.
    #[arg(long)]
    pub(crate) clients: Option<u32>,
    /// Sets a parameter of the scenario, key=value; may be repeated.
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, u32)>,
    /// The size of a message's body in bytes [default: the scenario's].
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// The seed of all random choices, for reproducible runs [default: the scenario file's, or 1].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The longest time after the load until everything is acknowledged and delivered.
    #[arg(long = "settle", default_value = "30s", value_parser = parse_duration)]
    pub(crate) quiesce: Duration,
    /// Probe reads per second of all clients together, which the oracle judges [default: 20, with faults 150].
    #[arg(long, value_name = "RATE")]
    pub(crate) reads: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The fault that is injected at the shard owner.
    #[arg(long, default_value = "kill")]
    pub(crate) how: FaultKind,
    /// The number of faults to inject and measure.
    #[arg(long, visible_alias = "kills", default_value_t = 10)]
    pub(crate) rounds: usize,
    /// The time for which the node stays stopped or down.
    #[arg(long, default_value = "4s", value_parser = parse_duration)]
    pub(crate) hold: Duration,
    /// Probe messages per second and shard.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) probes: f64,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Writes failover.json to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct JudgeArgs {
    /// The recording, one JSON object a line (format: docs/loadtest.md).
    #[arg(value_name = "FILE")]
    pub(crate) recording: PathBuf,
}

// === impl Connections, LoadArgs ===

impl Connections {
    /// Returns every source address; ranges are expanded.
    pub(crate) fn sources(&self) -> Vec<IpAddr> {
        self.sources
            .iter()
            .flat_map(|sources| sources.0.clone())
            .collect()
    }
}

impl LoadArgs {
    /// Returns the rate of probe reads per second.
    pub(crate) fn reads(&self, faults: bool) -> f64 {
        self.reads
            .unwrap_or(if faults { READS_WITH_FAULTS } else { READS })
    }

    /// Returns the scenario parameters that were set on the command line.
    pub(crate) fn given(&self) -> BTreeMap<String, u32> {
        // `--clients` is chained last, so that it overrides `-p clients=N`.
        let clients = self.clients.map(|clients| ("clients".to_owned(), clients));
        self.parameters.iter().cloned().chain(clients).collect()
    }
}

fn parse_parameter(text: &str) -> Result<(String, u32), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((
        name.to_owned(),
        value.parse().map_err(|_| format!("{value:?} is not a number"))?,
    ))
}
