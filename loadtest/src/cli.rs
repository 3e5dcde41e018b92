//! The command line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::dial::Sources;
use crate::fault::{Fault, How, Random, parse_duration};
use crate::findmax::FindMax;
use crate::pacing::Arrival;
use crate::pacing::curve::Rates;
use crate::scenario::What;

/// Loads a Rookery cluster, breaks it, and proves what was delivered.
///
/// Ends with 0 if every promise was kept, with 2 if one was broken, with 1 if the run could not be made.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists the scenarios and their parameters.
    Scenarios,
    /// Runs one scenario, or a scenario file.
    Run(Box<Run>),
    /// Carries a share of the clients of a run that another process coordinates.
    Worker(Worker),
    /// Prints what changed from one report.json to another.
    Compare(Compare),
    /// Makes one dated report out of many runs' reports, as scripts/report.sh leaves them.
    Collect(Collect),
    /// Measures, per shard, how long a fault of its owner keeps it from acking.
    Failover(Failover),
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A scenario by name (see `scenarios`), or a file that ends in .toml.
    #[arg(value_name = "SCENARIO")]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) find: FindMax,
    #[command(flatten)]
    pub(crate) connections: Connections,
    #[command(flatten)]
    pub(crate) team: TeamArgs,
    /// A fault, for example kill-owner@20s, stop-any@5s+8s, cut-1:3@10s, roll-all@10s; may be repeated. Needs --local.
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<Fault>,
    /// A file of faults (docs/testing.md). Needs --local.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Faults drawn from the seed, over the time of the load or, with @WITHIN, over its beginning. Needs --local.
    #[arg(long = "faults", value_name = "random:N[@WITHIN]")]
    pub(crate) random: Option<Random>,
    /// Writes report.json and report.html (and history.txt after a violation) here.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Times ten fdatasyncs a second beside the nodes' data while the load lasts. Needs --local.
    #[arg(long)]
    pub(crate) probe_disk: bool,
    /// Leaves out the reading back of all logs at the end.
    #[arg(long)]
    pub(crate) no_readback: bool,
}

/// Reads a second that are there to be judged: enough to be there at any moment, few enough to cost nothing ...
const READS: f64 = 20.0;
/// ... and where faults are injected, enough to meet a moment of some hundred milliseconds on each node.
const READS_WITH_FAULTS: f64 = 150.0;

/// How one process connects its clients.
#[derive(Args, Debug)]
pub(crate) struct Connections {
    /// Source addresses of the connections, in turn: one carries some 28,000. Addresses or ranges, as in
    /// 127.0.0.2-127.0.0.9,127.0.1.1.
    #[arg(
        long = "source",
        visible_alias = "sources",
        value_name = "ADDRESSES",
        value_delimiter = ','
    )]
    sources: Vec<Sources>,
    /// New connections a second; as fast as they come, if not given.
    #[arg(long, value_name = "RATE")]
    pub(crate) connect_rate: Option<f64>,
}

/// Several processes instead of one.
#[derive(Args, Debug)]
pub(crate) struct TeamArgs {
    /// Has no clients, but waits here for workers that have; host:port.
    #[arg(long, value_name = "ADDRESS", requires = "workers")]
    pub(crate) coordinator: Option<String>,
    /// How many workers.
    #[arg(long, requires = "coordinator", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: Option<u32>,
    /// What a worker has to know. It travels in the clear: use a trusted network.
    #[arg(long, env = "ROOKERY_LOADTEST_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Worker {
    /// Where the coordinator waits, host:port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) coordinator: String,
    /// What the coordinator wants to hear. It travels in the clear: use a trusted network.
    #[arg(long, env = "ROOKERY_LOADTEST_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    #[command(flatten)]
    pub(crate) connections: Connections,
}

#[derive(Args, Debug)]
pub(crate) struct Compare {
    /// A report.json, or the folder that holds it.
    pub(crate) a: PathBuf,
    pub(crate) b: PathBuf,
    /// Writes compare.html here, with both runs in each chart.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Collect {
    /// The folder with one folder for each run.
    pub(crate) runs: PathBuf,
    /// Where README.md, figures.json and the plots go.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// What a node speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Wire {
    Rookery,
    Mqtt,
}

#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    /// The nodes of a running cluster, as host:port.
    #[arg(
        long,
        value_delimiter = ',',
        required_unless_present = "local",
        conflicts_with = "local"
    )]
    pub(crate) nodes: Vec<String>,
    /// Starts a cluster of so many nodes on this machine, with the `rookery` binary beside this one.
    #[arg(long, value_name = "NODES")]
    pub(crate) local: Option<usize>,
    /// Where the local cluster keeps its data; a temporary folder, removed after the run, if not given.
    #[arg(long, requires = "local")]
    pub(crate) data: Option<PathBuf>,
    /// The local cluster's first HTTP port.
    #[arg(long, default_value_t = 18080, requires = "local")]
    pub(crate) http_base: u16,
    /// A setting of the local cluster's nodes, key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "local")]
    pub(crate) settings: Vec<String>,
    /// What the nodes speak: Rookery's WebSocket, or MQTT 3.1.1 at QoS 1, as any broker does.
    #[arg(long, default_value = "rookery")]
    pub(crate) wire: Wire,
    /// What an ack means there, for the report; found out by itself only where the nodes tell.
    #[arg(long, value_name = "TEXT")]
    pub(crate) guarantee: Option<String>,
    /// The nodes' processes, if they run on this machine: for their CPU and memory. In the order of --nodes.
    #[arg(
        long = "pid",
        value_name = "PIDS",
        value_delimiter = ',',
        conflicts_with = "local"
    )]
    pub(crate) pids: Vec<u32>,
    /// A client's token; {user} stands for its name. With MQTT, user=password, or nothing.
    #[arg(long, default_value = "dev:{user}")]
    pub(crate) token: String,
}

#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Messages a second, all senders together, on a schedule that waits for nobody (open loop); 100..2000 is a ramp over
    /// the duration.
    #[arg(long, conflicts_with_all = ["window", "steps"])]
    pub(crate) rate: Option<Rates>,
    /// Several rates, one after the other, each for an equal part of the duration.
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', conflicts_with = "window")]
    pub(crate) steps: Vec<f64>,
    /// The gaps of the schedule [default: poisson].
    #[arg(long)]
    pub(crate) arrival: Option<Arrival>,
    /// Unanswered messages per sender, the next one after each ack (closed loop).
    #[arg(long)]
    pub(crate) window: Option<usize>,
    /// How long the load lasts [default: the scenario's].
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Ends the load after so many messages.
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// Clients; short for -p clients=N.
    #[arg(long)]
    pub(crate) clients: Option<u32>,
    /// A parameter of the scenario, key=value; may be repeated.
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, u32)>,
    /// Bytes of a message's body [default: the scenario's].
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// Makes the run reproducible, as far as the machine is [default: the file's, or 1].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How long everything may take to be answered and delivered after the load.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) settle: Duration,
    /// Reads a second, all clients together, that are there to be judged [default: 20, with faults 150].
    #[arg(long, value_name = "RATE")]
    pub(crate) reads: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct Failover {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// What happens to the owner.
    #[arg(long, default_value = "kill")]
    pub(crate) how: How,
    /// How often.
    #[arg(long, visible_alias = "kills", default_value_t = 10)]
    pub(crate) rounds: usize,
    /// How long the node stays stopped or down.
    #[arg(long, default_value = "4s", value_parser = parse_duration)]
    pub(crate) hold: Duration,
    /// Messages a second per shard.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) probes: f64,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Writes failover.json here.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

// === impl Connections, Load ===

impl Connections {
    /// Every source address.
    pub(crate) fn sources(&self) -> Vec<IpAddr> {
        self.sources
            .iter()
            .flat_map(|sources| sources.0.clone())
            .collect()
    }
}

impl Load {
    /// Reads a second that are there to be judged.
    pub(crate) fn reads(&self, faults: bool) -> f64 {
        self.reads
            .unwrap_or(if faults { READS_WITH_FAULTS } else { READS })
    }

    /// The scenario's parameters that were given.
    pub(crate) fn given(&self) -> BTreeMap<String, u32> {
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
        value.parse().map_err(|_| format!("{value:?} is no number"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let line = "x run pairs --local 3 --rate 500 --duration 60s --seed 7 --fault kill-owner@20s --report d --set a=b";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Run(run) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(run.load.rate, "500".parse().ok());
        assert_eq!(run.load.duration, Some(Duration::from_secs(60)));
        assert!(
            Cli::try_parse_from("x run pairs".split(' ')).is_err(),
            "a target is needed"
        );
    }

    #[test]
    fn a_team_and_source_addresses_are_read() {
        let line = "x run idle --nodes a:1 --sources 127.0.0.2-127.0.0.4,127.0.1.1 --connect-rate 500 --coordinator 127.0.0.1:0 --workers 3";
        let Command::Run(run) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("a run")
        };
        assert_eq!(run.connections.sources().len(), 4);
        assert_eq!(
            (run.team.workers, run.connections.connect_rate),
            (Some(3), Some(500.0))
        );
        let alone = "x run idle --nodes a:1 --coordinator 127.0.0.1:0";
        assert!(
            Cli::try_parse_from(alone.split(' ')).is_err(),
            "how many workers?"
        );
    }
}
