//! Runs of the tool: a scenario with its load, faults and verdict, or a measurement of failovers.

mod checks;
mod drive;
mod failover;
mod find_max;
mod load_source;
mod replicas;
mod scenario_run;
mod verdict;

use rand::RngExt;

pub(crate) use self::failover::failover;
pub(crate) use self::scenario_run::run;
use crate::report::{compare, dated_report};
use crate::{cluster, distributed, load, recording, session};

/// Reason for which a run has no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Local(#[from] cluster::Error),
    #[error(transparent)]
    Pool(#[from] load::Error),
    #[error(transparent)]
    Mqtt(#[from] load::MqttError),
    #[error(transparent)]
    Team(#[from] distributed::Error),
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error(transparent)]
    Book(#[from] dated_report::Error),
    #[error(transparent)]
    Recording(#[from] recording::Error),
    #[error("the run is inconclusive: {0}")]
    Nothing(String),
    #[error("a measured session failed: {0}")]
    Session(#[from] session::Error),
    #[error("the timer cannot be created: {0}")]
    Timer(std::io::Error),
    #[error("the report could not be written: {0}")]
    Report(#[from] std::io::Error),
}

/// Returns a random number for the run, so that runs against one cluster stay separate. It does not depend on the seed.
fn run_number() -> u32 {
    rand::rng().random()
}
