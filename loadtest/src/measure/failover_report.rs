//! Results of a measurement of failovers, as written to `failover.json`.

use serde::{Deserialize, Serialize};

use super::recorder::{Percentiles, Second};

/// Contents of the report file `failover.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailoverReport {
    pub(crate) schema: u32,
    pub(crate) how: String,
    pub(crate) settings: Vec<String>,
    pub(crate) rounds: Vec<FailoverRound>,
    /// Time from the fault to the first new ack, over all shards of all rounds that lost their owner.
    pub(crate) affected: Percentiles,
    /// Same measure for the shards whose owner had no fault.
    pub(crate) unaffected: Percentiles,
    /// Longest time from send to ack of any message, in microseconds.
    pub(crate) longest_us: u64,
    pub(crate) acked: u64,
    pub(crate) violations: u64,
    /// One entry per second of the run.
    pub(crate) seconds: Vec<Second>,
}

/// Result of one fault.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailoverRound {
    pub(crate) node: u64,
    /// Start of the fault and recovery of the node, in seconds of the run.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    /// One time in milliseconds per shard whose owner had the fault.
    pub(crate) affected_ms: Vec<f64>,
    pub(crate) unaffected_ms: Vec<f64>,
    /// Number of shards without an ack in the round.
    pub(crate) silent: usize,
    /// Error of the fault itself; `None` if it took effect and was removed.
    pub(crate) problem: Option<String>,
}
