//! Outputs of a run: a table for the terminal, `report.json` (documented in docs/loadtest-report.md), `report.html`, and the
//! history around a violation.

mod annotations;
mod charts;
pub(crate) mod compare;
pub(crate) mod dated_report;
mod html;
mod many;
mod plot;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::{FaultOutcome, Injected};
use crate::measure::{FoundMax, HarnessSample, ManyReport, Percentiles, Reconnects, Sample, Second, Usage};
use crate::oracle::{EventHistory, JudgedCounts, Violation};

/// Contents of `report.json`. Fields are only ever added within one `schema`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunReport {
    pub(crate) schema: u32,
    pub(crate) version: String,
    pub(crate) scenario: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) seed: u64,
    pub(crate) target: TargetReport,
    /// Duration of the load in seconds.
    pub(crate) elapsed_s: f64,
    pub(crate) counts: JudgedCounts,
    /// Number of messages applied by receivers other than the sender.
    pub(crate) delivered: u64,
    pub(crate) acks_per_s: f64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) phases: Vec<PhaseReport>,
    pub(crate) faults: Vec<Injected>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) cost: MessageCost,
    #[serde(default)]
    pub(crate) harness: HarnessReport,
    pub(crate) violations: Vec<Violation>,
    /// Observations below the oracle's window, compared with its archive.
    pub(crate) late_sights: u64,
    pub(crate) seconds: Vec<Second>,
    /// Samples of the nodes, one per node and second.
    #[serde(default)]
    pub(crate) samples: Vec<Sample>,
    #[serde(default)]
    pub(crate) curves: Curves,
    /// Latencies of requests other than sends, from the due time to the response.
    #[serde(default)]
    pub(crate) operations: BTreeMap<String, Percentiles>,
    #[serde(default)]
    pub(crate) reconnects: Reconnects,
    /// Memory trend of each node.
    #[serde(default)]
    pub(crate) memory: Vec<MemoryTrend>,
    #[serde(default)]
    pub(crate) find_max: Option<FoundMax>,
    /// Sessions of users with few and with many conversations; empty if not measured.
    #[serde(default)]
    pub(crate) conversations: Vec<ManyReport>,
    /// Actions of hostile sessions beside the load, by name.
    #[serde(default)]
    pub(crate) hostile: BTreeMap<String, u64>,
    /// Events that the scenario should have caused and did not; `null` if they happened.
    #[serde(default)]
    pub(crate) missing: Option<String>,
    /// Samples of the harness's own process, one per second.
    #[serde(default)]
    pub(crate) own: Vec<HarnessSample>,
    /// Sync times of the disk during the load; `null` if not requested.
    #[serde(default)]
    pub(crate) fdatasync: Option<Percentiles>,
}

/// Memory trend of one node: a straight line through its samples, over the second half of the load or from the last
/// fault on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryTrend {
    pub(crate) node: usize,
    /// Start and end of the line, in seconds of the run.
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
    pub(crate) ack: Vec<PercentilePoint>,
    pub(crate) deliver: Vec<PercentilePoint>,
}

/// Point of a percentile curve.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PercentilePoint {
    pub(crate) percentile: f64,
    pub(crate) us: u64,
}

/// Tested cluster or broker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TargetReport {
    pub(crate) nodes: Vec<String>,
    /// `true` if the harness started the nodes, on this machine.
    pub(crate) local: bool,
    /// Settings that differ from the defaults.
    pub(crate) settings: Vec<String>,
    /// Guarantee of an ack: `fsync` on a majority, `memory`, or `unknown`.
    pub(crate) guarantee: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) name: String,
    pub(crate) from_s: f64,
    pub(crate) ack: Percentiles,
    pub(crate) deliver: Percentiles,
}

/// Usage of one node over the load. `rss_kib` is its value at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    pub(crate) node: String,
    /// `null` for a node that was restarted during the load: the counters of its first process are lost.
    pub(crate) usage: Option<Usage>,
    /// Resident memory in KiB before the first client connected. This field and the next two are `null` if unknown.
    pub(crate) rss_before_kib: Option<u64>,
    /// Percent of one core.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) messages_per_fsync: Option<f64>,
}

/// Usage of the harness over the load; the sum of all workers if there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HarnessReport {
    pub(crate) cpu_us: u64,
    /// Percent of one core, by the busiest process. Near 100 the harness is the limit.
    pub(crate) busiest_percent: f64,
    /// Resident memory in KiB at the end of the load.
    pub(crate) rss_kib: u64,
    /// Resident memory in KiB before the first client.
    pub(crate) rss_before_kib: u64,
    pub(crate) connections: u64,
    /// Growth of the harness's memory per connection, in KiB.
    pub(crate) kib_per_connection: Option<f64>,
    /// Number of events that clients of several workers observed, compared between the workers.
    pub(crate) events_compared: u64,
    pub(crate) workers: Vec<WorkerReport>,
}

/// Usage of one worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    /// Address of the worker.
    pub(crate) worker: String,
    pub(crate) clients: u64,
    pub(crate) cpu_us: u64,
    pub(crate) rss_kib: u64,
    pub(crate) rss_before_kib: u64,
    /// Maximum clock difference to the coordinator. Latencies between two workers are uncertain by this much.
    pub(crate) clock_error_us: u64,
}

/// Cost of one acknowledged message, in CPU microseconds. `null` is unknown: a node was restarted or is unreadable, or
/// there was no message or client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MessageCost {
    pub(crate) nodes_us_per_message: Option<f64>,
    pub(crate) nodes_us_per_delivery: Option<f64>,
    pub(crate) harness_us_per_message: Option<f64>,
    pub(crate) messages_per_fsync: Option<f64>,
    /// Growth of the nodes' memory since before the first client, per client.
    pub(crate) nodes_kib_per_client: Option<f64>,
}

// === impl RunReport ===

impl RunReport {
    /// Returns `true` without a violation and if every node recovered from its fault as expected.
    pub(crate) fn retained(&self) -> bool {
        self.violations.is_empty()
            && self
                .faults
                .iter()
                .all(|fault| fault.outcome != FaultOutcome::Indeterminate)
    }

    /// Writes `report.json` and `report.html`, and `history.txt` after a violation.
    pub(crate) fn write(&self, folder: &Path, history: &EventHistory) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        // The JSON first: an error in the page must not lose the measurements.
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
