//! `rookery ctl check`: problems of the cluster, or the readiness of a node, for monitors and probes.

use std::collections::BTreeSet;
use std::fmt;

use clap::{Args, ValueEnum};
use hyper::Method;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::output;
use super::view::{NodeView, OverviewView, ReportView, ShardView};

/// Largest difference of a clock from the majority's that is no problem, in milliseconds.
const CLOCK_MS: u64 = 500;

/// Arguments of `rookery ctl check`.
#[derive(Args)]
pub(super) struct Check {
    /// Checks only that the node accepts clients, as `/readyz` reports it. It needs no token.
    #[arg(long, conflicts_with = "format")]
    ready: bool,
    /// Form of the result; `nagios` has the exit codes of that world: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
    Nagios,
}

/// Urgency of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The cluster works; the next failure may be one too many.
    Warning,
    /// A part of the cluster does not work.
    Critical,
}

/// ClusterProblem of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ClusterProblem {
    pub(super) severity: Severity,
    pub(super) what: &'static str,
    pub(super) detail: String,
}

/// Result of a check.
#[derive(Serialize)]
struct CheckResult {
    ok: bool,
    problems: Vec<ClusterProblem>,
}

// === impl Check ===

impl Check {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        if self.ready {
            return ready(context).await;
        }
        let view = context.client.get::<OverviewView>(OverviewView::PATH).await;
        if self.format == CheckFormat::Nagios {
            let (text, code) = nagios(&view.map(|view| problems(&view)));
            output::write(&format!("{text}\n"))?;
            return match code {
                0 => Ok(()),
                code => Err(Failure::Nagios(code)),
            };
        }
        let problems = problems(&view?);
        let result = CheckResult {
            ok: problems.is_empty(),
            problems,
        };
        match self.format {
            CheckFormat::Json => output::write(&format!("{}\n", output::versioned(&result)))?,
            // As --output has it.
            _ => context.output.print(&result, || text(&result))?,
        }
        match result.ok {
            true => Ok(()),
            false => Err(Failure::Degraded),
        }
    }
}

/// Asks the first node that can be reached whether it accepts clients.
async fn ready(context: &CtlContext) -> Result<(), Failure> {
    let answer = context.client.send(Method::GET, "/readyz", None).await?;
    match (answer.status, answer.body["status"].as_str()) {
        (200, Some("ready")) => output::write("ready\n"),
        (503, Some(_)) => Err(Failure::NotReady {
            url: answer.url,
            reason: answer.body["reason"]
                .as_str()
                .unwrap_or("no reason given")
                .to_owned(),
        }),
        (status, _) => Err(Failure::NoNode {
            url: answer.url,
            reason: format!("answered {status}, which is not the answer of a node"),
        }),
    }
}

fn text(result: &CheckResult) -> String {
    match result.ok {
        true => "ok\n".to_owned(),
        false => result
            .problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect(),
    }
}

/// Returns the line and exit code for a monitor of the Nagios family.
fn nagios(problems: &Result<Vec<ClusterProblem>, Failure>) -> (String, u8) {
    let problems = match problems {
        Ok(problems) => problems,
        Err(failure) => return (format!("ROOKERY UNKNOWN - {failure}"), 3),
    };
    let (word, code) = match problems.iter().map(|problem| problem.severity).max() {
        None => return ("ROOKERY OK".to_owned(), 0),
        Some(Severity::Warning) => ("WARNING", 1),
        Some(Severity::Critical) => ("CRITICAL", 2),
    };
    let details: Vec<&str> = problems.iter().map(|problem| problem.detail.as_str()).collect();
    (format!("ROOKERY {word} - {}", details.join("; ")), code)
}

/// Returns the problems of a cluster, the critical ones first.
pub(super) fn problems(view: &OverviewView) -> Vec<ClusterProblem> {
    let mut found: Vec<ClusterProblem> = view
        .groups()
        .flat_map(|group| of_group(group, view.wanted_replicas()))
        .collect();
    found.extend(view.nodes.iter().flat_map(of_node));
    let versions: BTreeSet<&str> = view
        .nodes
        .iter()
        .filter_map(|node| Some(node.report.as_ref()?.version.as_str()))
        .collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        let detail = format!("the nodes have different versions: {}", versions.join(", "));
        found.push(ClusterProblem::warning("versions_differ", detail));
    }
    // Stable, so that the order within a severity is that of shards and nodes.
    found.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    found
}

fn of_group(group: &ShardView, wanted: usize) -> Vec<ClusterProblem> {
    let mut found = Vec::new();
    let name = match group.name() {
        name if name == "meta" => "the meta group".to_owned(),
        name => format!("shard {name}"),
    };
    if group.owner.is_none() {
        found.push(ClusterProblem::critical(
            "shard_without_owner",
            format!("{name} has no owner"),
        ));
    }
    let (voters, working) = group.votes();
    let majority = voters / 2 + 1;
    if working < majority {
        let detail = format!("{name} has {working} of {voters} replicas, and no majority");
        found.push(ClusterProblem::critical("no_majority", detail));
    } else if working == majority && voters > 1 {
        let detail = format!("{name} has {working} of {voters} replicas, and none to spare");
        found.push(ClusterProblem::warning("no_spare_replica", detail));
    }
    if voters < wanted {
        let detail = format!("{name} has {voters} of {wanted} replicas: the others are still copied");
        found.push(ClusterProblem::warning("too_few_replicas", detail));
    }
    found
}

fn of_node(node: &NodeView) -> Vec<ClusterProblem> {
    let Some(report) = &node.report else {
        return vec![ClusterProblem::warning(
            "node_silent",
            format!("node {} is silent", node.id),
        )];
    };
    let mut found = of_disk(node.id, report);
    if let Some(reason) = &report.not_ready {
        let detail = format!("node {} accepts no clients: {reason}", node.id);
        found.push(ClusterProblem::warning("node_not_ready", detail));
    }
    if !report.fsync {
        let detail = format!(
            "node {} does not sync: acknowledged messages may be lost",
            node.id
        );
        found.push(ClusterProblem::warning("fsync_off", detail));
    }
    if let Some(skew_ms) = report.clock_skew_ms.filter(|skew| skew.unsigned_abs() > CLOCK_MS) {
        let detail = format!(
            "the clock of node {} is {skew_ms} ms from the majority's",
            node.id
        );
        found.push(ClusterProblem::warning("clock_wrong", detail));
    }
    found
}

fn of_disk(node: u64, report: &ReportView) -> Vec<ClusterProblem> {
    let ReportView {
        disk_free_bytes: free,
        disk_reserve_bytes: reserve,
        ..
    } = *report;
    let detail = || {
        let (free, reserve) = (output::size(free), output::size(reserve));
        format!("node {node} has {free} of free space, the reserve is {reserve}")
    };
    if free < reserve {
        vec![ClusterProblem::critical("disk_full", detail())]
    } else if free < reserve.saturating_mul(2) {
        vec![ClusterProblem::warning("disk_nearly_full", detail())]
    } else {
        Vec::new()
    }
}

// === impl ClusterProblem ===

impl ClusterProblem {
    fn critical(what: &'static str, detail: String) -> ClusterProblem {
        ClusterProblem {
            severity: Severity::Critical,
            what,
            detail,
        }
    }

    fn warning(what: &'static str, detail: String) -> ClusterProblem {
        ClusterProblem {
            severity: Severity::Warning,
            what,
            detail,
        }
    }
}

impl fmt::Display for ClusterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        write!(f, "{severity}: {}", self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::view::tests::{healthy, one_silent};

    fn whats(view: &OverviewView) -> Vec<&'static str> {
        problems(view).iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn healthy_cluster_has_no_problem_and_each_fault_has_one() {
        assert_eq!(whats(&healthy()), Vec::<&str>::new());
        type Fault = fn(&mut ReportView);
        let faults: [(Fault, &str); 6] = [
            (|report| report.not_ready = Some("x".to_owned()), "node_not_ready"),
            (|report| report.fsync = false, "fsync_off"),
            (|report| report.clock_skew_ms = Some(-501), "clock_wrong"),
            (
                |report| report.disk_free_bytes = (2 << 30) - 1,
                "disk_nearly_full",
            ),
            (|report| report.disk_free_bytes = (1 << 30) - 1, "disk_full"),
            (|report| report.version = "0.2.0".to_owned(), "versions_differ"),
        ];
        for (fault, what) in faults {
            let mut view = healthy();
            fault(view.nodes[1].report.as_mut().unwrap());
            assert_eq!(whats(&view), [what]);
        }
    }

    #[test]
    fn silent_node_takes_the_spare_replica_of_every_shard() {
        let mut view = one_silent();
        let spare = ["no_spare_replica"; 4];
        let expected = [&["shard_without_owner"][..], &spare, &["node_silent"]].concat();
        assert_eq!(whats(&view), expected);
        for shard in view.shards.iter_mut().chain([&mut view.meta]) {
            shard.replicas[1].role = None;
        }
        let lost = whats(&view);
        assert_eq!(
            lost.iter().filter(|what| **what == "no_majority").count(),
            4,
            "{lost:?}"
        );
        // The only replica of a cluster of one has none to spare, which is no news.
        let mut alone = healthy();
        alone.nodes.truncate(1);
        for shard in alone.shards.iter_mut().chain([&mut alone.meta]) {
            shard.replicas.truncate(1);
        }
        assert_eq!(whats(&alone), Vec::<&str>::new());
    }

    #[test]
    fn group_whose_copies_do_not_vote_yet_is_no_healthy_one() {
        let mut view = healthy();
        for replica in &mut view.shards[0].replicas[1..] {
            replica.voter = Some(false);
        }
        view.shards[1].replicas.truncate(1);
        assert_eq!(whats(&view), ["too_few_replicas"; 2]);
        view.nodes.truncate(1);
        assert_eq!(
            whats(&view),
            Vec::<&str>::new(),
            "one node has one replica of each group"
        );
    }

    #[test]
    fn json_of_a_check_is_frozen() {
        let mut view = healthy();
        view.nodes[1].report.as_mut().unwrap().fsync = false;
        let result = CheckResult {
            ok: false,
            problems: problems(&view),
        };
        let expected = r#"{"v":1,"ok":false,"problems":[{"severity":"warning","what":"fsync_off","detail":"node 2 does not sync: acknowledged messages may be lost"}]}"#;
        assert_eq!(output::versioned(&result), expected);
        let fine = CheckResult {
            ok: true,
            problems: Vec::new(),
        };
        assert_eq!(output::versioned(&fine), r#"{"v":1,"ok":true,"problems":[]}"#);
    }

    #[test]
    fn monitor_of_the_nagios_family_gets_its_own_codes() {
        assert_eq!(nagios(&Ok(Vec::new())), ("ROOKERY OK".to_owned(), 0));
        let warning = ClusterProblem::warning("x", "a".to_owned());
        let critical = ClusterProblem::critical("x", "b".to_owned());
        assert_eq!(
            nagios(&Ok(vec![warning.clone()])),
            ("ROOKERY WARNING - a".to_owned(), 1)
        );
        assert_eq!(
            nagios(&Ok(vec![critical, warning])),
            ("ROOKERY CRITICAL - b; a".to_owned(), 2)
        );
        let unknown = nagios(&Err(Failure::Unreachable("u".to_owned())));
        assert_eq!(unknown, ("ROOKERY UNKNOWN - u: no answer".to_owned(), 3));
    }
}
