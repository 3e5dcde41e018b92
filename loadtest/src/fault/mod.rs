//! Injection of faults into a local cluster.
//!
//! Each fault reports its effect together with the evidence for it, so that a run whose fault had no effect is
//! detected.

mod fault_run;
mod injection;
mod injector;
mod rest_reader;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::injector::Injector;

/// Record of one fault of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Injected {
    pub(crate) fault: String,
    pub(crate) nodes: Vec<u64>,
    /// Start in seconds of the run; `until_s` is the end.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) outcome: FaultOutcome,
    /// Reason for which the fault was skipped, or its error.
    pub(crate) problem: Option<String>,
    /// Observation that proves the effect of the fault.
    #[serde(default)]
    pub(crate) evidence: Option<String>,
}

/// Outcome of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultOutcome {
    Installed,
    /// Not injected, without any effect.
    Skipped,
    /// Injected, but without visible effect, or a node did not recover.
    Indeterminate,
}
