//! What a run leaves behind: a table for the terminal, `report.json` (documented in docs/testing.md), and the
//! history around a violation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::fault::{Injected, Outcome};
use crate::measure::latency::{Percentiles, Phase, Second};
use crate::measure::nodes::Usage;
use crate::oracle::{Counts, History, Violation};

/// `report.json`. Fields are only ever added within one `schema`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) version: &'static str,
    pub(crate) scenario: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) seed: u64,
    pub(crate) target: Target,
    /// Seconds of load.
    pub(crate) elapsed_s: f64,
    pub(crate) counts: Counts,
    /// Applied by another client than the sender.
    pub(crate) delivered: u64,
    pub(crate) acks_per_s: f64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) phases: Vec<PhaseReport>,
    pub(crate) faults: Vec<Injected>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) cost: Cost,
    pub(crate) violations: Vec<Violation>,
    /// Sights judged by block digests alone, because they came later than the oracle's window.
    pub(crate) late_sights: u64,
    pub(crate) seconds: Vec<Second>,
}

/// What was loaded.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) nodes: Vec<String>,
    /// Started by the harness, on this machine.
    pub(crate) local: bool,
    /// Settings that differ from the defaults.
    pub(crate) settings: Vec<String>,
    /// What an ack means there: `fsync` on a majority, `memory`, or `unknown`.
    pub(crate) guarantee: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct PhaseReport {
    pub(crate) name: String,
    pub(crate) from_s: f64,
    pub(crate) ack: Percentiles,
    pub(crate) deliver: Percentiles,
}

/// One node over the load; `rss_kib` is at its end.
#[derive(Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) node: String,
    /// `null` for a node that was restarted during the load: its first process took its figures along.
    pub(crate) usage: Option<Usage>,
    /// Before the first client connected.
    pub(crate) rss_before_kib: u64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) messages_per_fsync: f64,
}

/// What one acked message costs, in CPU microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) nodes_us_per_message: f64,
    pub(crate) nodes_us_per_delivery: f64,
    pub(crate) harness_us_per_message: f64,
    pub(crate) messages_per_fsync: f64,
    /// Memory that the nodes have taken since before the first client, per client.
    pub(crate) nodes_kib_per_client: f64,
}

// === impl PhaseReport, NodeReport, Cost ===

impl From<&Phase> for PhaseReport {
    fn from(phase: &Phase) -> PhaseReport {
        PhaseReport {
            name: phase.name.clone(),
            from_s: phase.from as f64 / 1e9,
            ack: Percentiles::of(&phase.ack),
            deliver: Percentiles::of(&phase.deliver),
        }
    }
}

impl NodeReport {
    pub(crate) fn new(
        node: &str,
        usage: Option<Usage>,
        rss_before_kib: u64,
        elapsed_s: f64,
        acked: u64,
    ) -> NodeReport {
        let known = usage.unwrap_or_default();
        NodeReport {
            node: node.to_owned(),
            usage,
            rss_before_kib,
            cpu_percent: known.cpu_us as f64 / 1e4 / elapsed_s.max(1e-9),
            messages_per_fsync: ratio(acked, known.fsyncs),
        }
    }
}

impl Cost {
    /// The nodes' share is 0 if any of them was restarted: a sum of some is no cost.
    pub(crate) fn new(
        nodes: &[NodeReport],
        harness: Usage,
        acked: u64,
        delivered: u64,
        clients: u64,
    ) -> Cost {
        let usage: Vec<Usage> = nodes.iter().filter_map(|node| node.usage).collect();
        let own = Cost {
            harness_us_per_message: ratio(harness.cpu_us, acked),
            ..Cost::default()
        };
        if usage.len() < nodes.len() {
            return own;
        }
        let grown = nodes.iter().map(|node| {
            node.usage
                .map_or(0, |usage| usage.rss_kib)
                .saturating_sub(node.rss_before_kib)
        });
        let cpu: u64 = usage.iter().map(|usage| usage.cpu_us).sum();
        let fsyncs: u64 = usage.iter().map(|usage| usage.fsyncs).sum();
        Cost {
            nodes_us_per_message: ratio(cpu, acked),
            nodes_us_per_delivery: ratio(cpu, delivered),
            messages_per_fsync: ratio(acked * nodes.len() as u64, fsyncs),
            nodes_kib_per_client: ratio(grown.sum(), clients),
            ..own
        }
    }
}

fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { of as f64 / by as f64 }
}

// === impl Report ===

impl Report {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let _ = writeln!(
            out,
            "{} {} seed={}",
            self.scenario,
            parameters.join(" "),
            self.seed
        );
        let _ = writeln!(
            out,
            "{} nodes, acked means: {}",
            self.target.nodes.len(),
            self.target.guarantee
        );
        let counts = &self.counts;
        let _ = writeln!(
            out,
            "sent {}  acked {} ({:.0}/s)  delivered {} ({:.0}/s)  refused {}  read back {}  in {:.1} s",
            counts.sent,
            counts.acked,
            self.acks_per_s,
            self.delivered,
            self.deliveries_per_s,
            counts.refused,
            counts.read_back,
            self.elapsed_s
        );
        let _ = writeln!(
            out,
            "\n{:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
        );
        for phase in &self.phases {
            for (what, figures) in [("ack", phase.ack), ("deliver", phase.deliver)] {
                if figures.count > 0 {
                    let name = format!("{} send-{what}", phase.name);
                    let ms = [
                        figures.p50_us,
                        figures.p90_us,
                        figures.p99_us,
                        figures.p999_us,
                        figures.max_us,
                    ]
                    .map(|us| format!("{:>9.2}", us as f64 / 1000.0));
                    let _ = writeln!(out, "{name:<28} {:>9} {}", figures.count, ms.join(" "));
                }
            }
        }
        self.nodes_table(&mut out);
        for injected in &self.faults {
            let Injected {
                fault,
                nodes,
                from_s,
                until_s,
                outcome,
                problem,
            } = injected;
            let problem = problem
                .as_ref()
                .map_or_else(String::new, |problem| format!(": {problem}"));
            let _ = writeln!(
                out,
                "fault {fault} on nodes {nodes:?}: {from_s:.1} s to {until_s:.1} s, {outcome:?}{problem}"
            );
        }
        if !self.errors.is_empty() {
            let errors: Vec<_> = self
                .errors
                .iter()
                .map(|(name, count)| format!("{name}: {count}"))
                .collect();
            let _ = writeln!(out, "errors: {}", errors.join(", "));
        }
        for violation in &self.violations {
            let _ = writeln!(
                out,
                "VIOLATION {:?} in {} at s={} (client {:?}): {}",
                violation.kind, violation.conversation, violation.s, violation.client, violation.detail
            );
        }
        let _ = writeln!(out, "{} violations", counts.violations);
        out
    }

    /// Every promise was kept, and every node came back from its fault as it should.
    pub(crate) fn kept(&self) -> bool {
        self.violations.is_empty()
            && self
                .faults
                .iter()
                .all(|fault| fault.outcome != Outcome::Indeterminate)
    }

    fn nodes_table(&self, out: &mut String) {
        let told = |usage: Usage| usage.rss_kib > 0 || usage.fsyncs > 0;
        if !self.nodes.iter().any(|node| node.usage.is_none_or(told)) {
            return; // somebody else's nodes, without metrics
        }
        let head = ["CPU s", "CPU %", "RSS MiB", "fsyncs", "msg/fsync"].map(|head| format!("{head:>9}"));
        let _ = writeln!(out, "\n{:<28} {}", "node", head.join(" "));
        for node in &self.nodes {
            let Some(usage) = node.usage else {
                let _ = writeln!(out, "{:<28} restarted", node.node);
                continue;
            };
            let _ = writeln!(
                out,
                "{:<28} {:>9.1} {:>9.1} {:>9.1} {:>9} {:>9.1}",
                node.node,
                usage.cpu_us as f64 / 1e6,
                node.cpu_percent,
                usage.rss_kib as f64 / 1024.0,
                usage.fsyncs,
                node.messages_per_fsync
            );
        }
        let cost = &self.cost;
        let _ = writeln!(
            out,
            "CPU per message: nodes {:.1} us, harness {:.1} us; per delivery: nodes {:.1} us; memory per client: {:.1} KiB",
            cost.nodes_us_per_message,
            cost.harness_us_per_message,
            cost.nodes_us_per_delivery,
            cost.nodes_kib_per_client
        );
    }

    /// Writes `report.json` and, if a promise was broken, `history.txt`.
    pub(crate) fn write(&self, folder: &Path, history: &History) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)?;
        if self.violations.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for violation in &self.violations {
            let _ = writeln!(text, "{violation:#?}\n");
        }
        for line in history.lines() {
            let _ = writeln!(text, "{line}");
        }
        std::fs::write(folder.join("history.txt"), text)
    }
}
