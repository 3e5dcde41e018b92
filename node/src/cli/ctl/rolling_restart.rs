//! `rookery ctl rolling-restart`: the nodes are restarted one after the other, each only while nothing is missing.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::process::Command;

use super::CtlContext;
use super::can_stop::StopView;
use super::drain;
use super::failure::Failure;
use super::output::Table;
use super::progress::{Look, Progress};
use super::view::{NodeView, OverviewView};
use super::whole;

/// Inaccuracy of a start time that is computed from two answers of a node, in milliseconds.
const INACCURACY: i64 = 1_000;

/// Arguments of `rookery ctl rolling-restart`.
#[derive(Args)]
pub(super) struct RollingRestart {
    /// Command that restarts the node, run by `sh -c`. The environment has ROOKERY_NODE_ID, ROOKERY_NODE_ADDR (its address
    /// for other nodes) and ROOKERY_NODE_ZONE. Without it, somebody restarts each node when asked.
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// Number of a node to restart; may be repeated. Default: all, in the order of their numbers.
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<u64>,
    /// Time to wait for each step: until nothing is missing, until the node is drained, until it is back.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Nodes that were restarted.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RestartedNodes {
    nodes: Vec<RestartedNode>,
}

/// Times of one restart, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RestartedNode {
    node: u64,
    /// From the order to the end of the drain.
    drain_ms: u64,
    /// From then on until the new process was seen.
    restart_ms: u64,
    /// From then on until nothing was missing.
    whole_ms: u64,
    /// Version of the new process.
    version: String,
}

/// Clock of this command, by which the start times of processes are compared.
struct StartClock(Instant);

// === impl RollingRestart ===

impl RollingRestart {
    /// Restarts the nodes, and stops at the first doubt.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let nodes = match &self.nodes[..] {
            [] => view.nodes.iter().map(|node| node.id).collect(),
            given => given.to_vec(),
        };
        if let Some(unknown) = nodes
            .iter()
            .find(|id| view.nodes.iter().all(|node| node.id != **id))
        {
            return Err(Failure::Refused(format!("the cluster has no node {unknown}")));
        }
        let mut restarted = Vec::new();
        for node in nodes {
            match self.restart(context, node).await {
                Ok(done) => restarted.push(done),
                Err(failure) => {
                    let done: Vec<String> = restarted
                        .iter()
                        .map(|done: &RestartedNode| done.node.to_string())
                        .collect();
                    let done = if done.is_empty() {
                        "none".to_owned()
                    } else {
                        done.join(", ")
                    };
                    context
                        .output
                        .say(&format!("stopped at node {node}; restarted before it: {done}"));
                    return Err(failure);
                }
            }
        }
        let restarted = RestartedNodes { nodes: restarted };
        context.output.print(&restarted, || restarted.text())
    }

    async fn restart(&self, context: &CtlContext, node: u64) -> Result<RestartedNode, Failure> {
        let watch = Progress::new(self.wait, format!("node {node} was not touched"));
        watch.until(context, |view| Ok(look_whole(view))).await?;
        let verdict = StopView::of(context, node).await?;
        if !verdict.can_stop {
            return Err(Failure::Refused(verdict.text()));
        }
        let began = Instant::now();
        context.output.say(&format!("node {node}: draining"));
        drain::drained(context, node, self.wait).await?;
        let drain_ms = millis(began);

        let clock = StartClock(Instant::now());
        let drained = format!(
            "node {node} is drained, and was not restarted: `rookery ctl resume {node}` ends the drain"
        );
        let watch = Progress::new(self.wait, &drained);
        let (before, member) = watch.until(context, |view| Ok(clock.look(view, node))).await?;
        let began = Instant::now();
        match &self.exec {
            Some(command) => execute(command, &member, &drained).await?,
            None => eprintln!("restart node {node} at {} now", member.addr),
        }
        // A node that is restarted by hand may serve again without it: an ended drain is no restart.
        let watch = Progress::new(
            self.wait,
            format!("node {node} has not come back as a new process"),
        );
        let member = watch
            .until(context, |view| {
                Ok(match clock.look(view, node) {
                    Look::Done((started, member)) if started > before + INACCURACY => Look::Done(member),
                    _ => Look::Waits(format!("waiting for the new process of node {node}")),
                })
            })
            .await?;
        let restart_ms = millis(began);

        let began = Instant::now();
        let watch = Progress::new(
            self.wait,
            format!("node {node} was restarted, and something is still missing"),
        );
        watch.until(context, |view| Ok(look_whole(view))).await?;
        Ok(RestartedNode {
            node,
            drain_ms,
            restart_ms,
            whole_ms: millis(began),
            version: member.report.map(|report| report.version).unwrap_or_default(),
        })
    }
}

/// Runs the command of the operator for a node.
async fn execute(command: &str, member: &NodeView, drained: &str) -> Result<(), Failure> {
    let child = Command::new("sh")
        .args(["-c", command])
        .env("ROOKERY_NODE_ID", member.id.to_string())
        .env("ROOKERY_NODE_ADDR", &member.addr)
        .env("ROOKERY_NODE_ZONE", &member.zone)
        // The output of this command is its own; that of the operator's goes beside it.
        .stdout(std::io::stderr())
        .status();
    let status: ExitStatus = child
        .await
        .map_err(|error| Failure::Refused(format!("the command could not be run: {error}; {drained}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Refused(format!(
            "the command for node {} ended with {status}; {drained}",
            member.id
        ))),
    }
}

fn look_whole(view: &OverviewView) -> Look<()> {
    match whole::missing(view) {
        None => Look::Done(()),
        Some(missing) => Look::Waits(missing),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

// === impl StartClock ===

impl StartClock {
    /// Looks for the start time of a node's process, in milliseconds of this clock, with the state of the node.
    fn look(&self, view: &OverviewView, node: u64) -> Look<(i64, NodeView)> {
        let now = i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        StartClock::look_at(view, node, now)
    }

    fn look_at(view: &OverviewView, node: u64, now: i64) -> Look<(i64, NodeView)> {
        let member = view.nodes.iter().find(|member| member.id == node);
        let report = member.and_then(|member| member.report.as_ref());
        match (member, report) {
            (Some(member), Some(report)) => {
                let uptime = i64::try_from(report.uptime_ms).unwrap_or(i64::MAX);
                Look::Done((now.saturating_sub(uptime), member.clone()))
            }
            _ => Look::Waits(format!("node {node} does not answer")),
        }
    }
}

// === impl RestartedNodes ===

impl RestartedNodes {
    fn text(&self) -> String {
        let mut table = Table::new(["NODE", "DRAIN MS", "RESTART MS", "WHOLE MS", "VERSION"]);
        for node in &self.nodes {
            table.row([
                node.node.to_string(),
                node.drain_ms.to_string(),
                node.restart_ms.to_string(),
                node.whole_ms.to_string(),
                node.version.clone(),
            ]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::{healthy, one_silent};

    #[test]
    fn a_later_start_is_a_new_process_and_a_longer_uptime_is_none() {
        let mut view = healthy();
        let started = |view: &OverviewView, now| match StartClock::look_at(view, 3, now) {
            Look::Done((started, member)) => Some((started, member.id)),
            Look::Waits(_) => None,
        };
        let before = started(&view, 0).unwrap();
        assert_eq!(before, (-90_061_000, 3));
        view.nodes[2].report.as_mut().unwrap().uptime_ms += 5_000;
        assert_eq!(started(&view, 5_000), Some(before), "the same process, later");
        view.nodes[2].report.as_mut().unwrap().uptime_ms = 100;
        assert_eq!(started(&view, 6_000), Some((5_900, 3)));
        assert_eq!(started(&one_silent(), 0), None);
    }

    #[test]
    fn json_of_a_rolling_restart_is_frozen() {
        let node = RestartedNode {
            node: 2,
            drain_ms: 1_200,
            restart_ms: 900,
            whole_ms: 400,
            version: "0.1.0".to_owned(),
        };
        let restarted = RestartedNodes { nodes: vec![node] };
        let expected = concat!(
            r#"{"v":1,"nodes":[{"node":2,"drain_ms":1200,"restart_ms":900,"#,
            r#""whole_ms":400,"version":"0.1.0"}]}"#,
        );
        assert_eq!(versioned(&restarted), expected);
        assert_eq!(restarted.text().lines().count(), 2);
    }
}
