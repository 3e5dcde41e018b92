//! What a run leaves behind: a table for the terminal, `report.json` (documented in docs/testing.md), `report.html`
//! for people, and the history around a violation.

pub(crate) mod book;
mod charts;
pub(crate) mod compare;
mod extras;
mod figures;
mod html;
mod many;
mod plot;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::{Injected, Outcome};
use crate::findmax::Found;
use crate::many::ManyReport;
use crate::measure::latency::{Percentiles, Second};
use crate::measure::nodes::Usage;
use crate::measure::recovery::Reconnects;
use crate::measure::series::{Own, Sample};
use crate::oracle::{Counts, History, Violation};

/// `report.json`. Fields are only ever added within one `schema`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) version: String,
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
    #[serde(default)]
    pub(crate) harness: HarnessReport,
    pub(crate) violations: Vec<Violation>,
    /// Sights judged by block digests alone, because they came later than the oracle's window.
    pub(crate) late_sights: u64,
    pub(crate) seconds: Vec<Second>,
    /// The nodes, once a second.
    #[serde(default)]
    pub(crate) samples: Vec<Sample>,
    #[serde(default)]
    pub(crate) curves: Curves,
    /// What was done besides sending, from when it was due to its answer.
    #[serde(default)]
    pub(crate) operations: BTreeMap<String, Percentiles>,
    #[serde(default)]
    pub(crate) reconnects: Reconnects,
    /// The trend of each node's memory.
    #[serde(default)]
    pub(crate) memory: Vec<Memory>,
    #[serde(default)]
    pub(crate) find_max: Option<Found>,
    /// Sessions of users with few and with many conversations, if they were measured.
    #[serde(default)]
    pub(crate) conversations: Vec<ManyReport>,
    /// What hostile sessions did beside the load, by name.
    #[serde(default)]
    pub(crate) hostile: BTreeMap<String, u64>,
    /// What the scenario is there to show and didn't.
    #[serde(default)]
    pub(crate) missing: Option<String>,
    /// The harness's own process, once a second.
    #[serde(default)]
    pub(crate) own: Vec<Own>,
    /// The disk by itself, over the load, if it was asked for.
    #[serde(default)]
    pub(crate) fdatasync: Option<Percentiles>,
}

/// The memory of one node over the second half of the load, or over what is left of it after the last fault, as a
/// straight line through its samples.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) node: usize,
    /// Where the line begins and ends, in seconds of the run.
    #[serde(default)]
    pub(crate) from_s: f64,
    #[serde(default)]
    pub(crate) until_s: f64,
    pub(crate) samples: usize,
    pub(crate) last_kib: u64,
    pub(crate) kib_per_hour: f64,
}

/// Percentile curves over the load.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Curves {
    pub(crate) ack: Vec<Point>,
    pub(crate) deliver: Vec<Point>,
}

/// One point of a percentile curve.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) percentile: f64,
    pub(crate) us: u64,
}

/// What was loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) nodes: Vec<String>,
    /// Started by the harness, on this machine.
    pub(crate) local: bool,
    /// Settings that differ from the defaults.
    pub(crate) settings: Vec<String>,
    /// What an ack means there: `fsync` on a majority, `memory`, or `unknown`.
    pub(crate) guarantee: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) name: String,
    pub(crate) from_s: f64,
    pub(crate) ack: Percentiles,
    pub(crate) deliver: Percentiles,
}

/// One node over the load; `rss_kib` is at its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    pub(crate) node: String,
    /// `null` for a node that was restarted during the load: its first process took its figures along.
    pub(crate) usage: Option<Usage>,
    /// Before the first client connected. `null`, like what follows, where it is not known.
    pub(crate) rss_before_kib: Option<u64>,
    /// Of one core.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) messages_per_fsync: Option<f64>,
}

/// The harness itself, over the load; of all workers together if there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HarnessReport {
    pub(crate) cpu_us: u64,
    /// Of one core, by the busiest process. Near 100 it is the harness that is measured.
    pub(crate) busiest_percent: f64,
    /// At the end of the load.
    pub(crate) rss_kib: u64,
    /// Before the first client.
    pub(crate) rss_before_kib: u64,
    pub(crate) connections: u64,
    /// What the harness has grown by, per connection.
    pub(crate) kib_per_connection: Option<f64>,
    /// Events that clients of several workers saw, compared between the workers.
    pub(crate) events_compared: u64,
    pub(crate) workers: Vec<WorkerReport>,
}

/// One worker's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    /// Its address.
    pub(crate) worker: String,
    pub(crate) clients: u64,
    pub(crate) cpu_us: u64,
    pub(crate) rss_kib: u64,
    pub(crate) rss_before_kib: u64,
    /// How far its clock may be from the coordinator's: latencies between two workers are uncertain by as much.
    pub(crate) clock_error_us: u64,
}

/// What one acked message costs, in CPU microseconds. `null` is what nobody could know: of a node that was restarted or
/// that can't be looked at, of no message, of no client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) nodes_us_per_message: Option<f64>,
    pub(crate) nodes_us_per_delivery: Option<f64>,
    pub(crate) harness_us_per_message: Option<f64>,
    pub(crate) messages_per_fsync: Option<f64>,
    /// Memory that the nodes have taken since before the first client, per client.
    pub(crate) nodes_kib_per_client: Option<f64>,
}

// === impl Report ===

impl Report {
    /// Every promise was kept, and every node came back from its fault as it should.
    pub(crate) fn kept(&self) -> bool {
        self.violations.is_empty()
            && self
                .faults
                .iter()
                .all(|fault| fault.outcome != Outcome::Indeterminate)
    }

    /// Writes `report.json`, `report.html` and, if a promise was broken, `history.txt`.
    pub(crate) fn write(&self, folder: &Path, history: &History) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)?;
        std::fs::write(folder.join("report.html"), self.html())?;
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
