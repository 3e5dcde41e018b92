//! Measurements: latencies at the clients, and resource usage of the nodes.

mod failover_report;
mod fdatasync;
mod first_acks;
mod found_max;
mod many_report;
mod merge;
mod node_samples;
mod nodes;
mod recorder;
mod recovery;
mod run_context;
mod written;

pub(crate) use self::failover_report::{FailoverReport, FailoverRound};
pub(crate) use self::fdatasync::SyncProbe;
pub(crate) use self::found_max::{FoundMax, RateProbe};
pub(crate) use self::many_report::ManyReport;
pub(crate) use self::node_samples::{HarnessSample, Sample, Sampler};
pub(crate) use self::nodes::{Usage, sum};
#[cfg(test)]
pub(crate) use self::recorder::Recorder;
pub(crate) use self::recorder::{
    ClosedSecond, Measured, Percentiles, PhaseMarker, RunPhase, Second, histogram,
};
pub(crate) use self::recovery::{ReconnectStorm, Reconnects, Returned};
pub(crate) use self::run_context::{RunContext, SharedContext};
