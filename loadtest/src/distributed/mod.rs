//! Distributed runs: several processes load one cluster together.
//!
//! A coordinator has no clients. It waits for its workers, and assigns the same command line and a slice of the clients
//! to each. It starts them at the same time, injects the faults, and merges their measurements and verdicts. Every
//! process builds the same plan from the same seed, so all agree on the clients.
//!
//! Each worker's oracle judges the views of its own clients. The coordinator compares the rest: each worker sends the
//! digest of every event of a conversation with members at several workers (`digest_log`). A fork between clients of
//! two workers is thus as visible as one between two clients.
//!
//! The connection is plain TCP and sends the secret unencrypted. The secret excludes a worker of another run, not an
//! attacker, so the network must be trusted.

mod budget;
mod coordinator;
mod digest_log;
mod harness_usage;
mod message;
mod message_stream;
mod status_reporter;
mod worker;
mod worker_registration;
mod worker_status;

pub(crate) use self::coordinator::Coordinator;
pub(crate) use self::worker::work;
#[cfg(test)]
pub(crate) use self::worker_registration::gather;
use crate::load;

/// Error of a distributed run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on {0}: {1}")]
    Listen(String, std::io::Error),
    #[error("the coordinator {0} cannot be reached: {1}")]
    Unreachable(String, std::io::Error),
    #[error("only {came} of {wanted} workers registered within {waited:?}")]
    Few {
        came: usize,
        wanted: usize,
        waited: std::time::Duration,
    },
    #[error("worker {worker} ({address}) {why}")]
    Worker {
        worker: usize,
        address: String,
        why: String,
    },
    #[error("after {waited:?} some workers had not {what}")]
    Late {
        what: &'static str,
        waited: std::time::Duration,
    },
    #[error("the coordinator {0}")]
    Coordinator(String),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Pool(#[from] load::Error),
    #[error("the timer cannot be created: {0}")]
    Timer(std::io::Error),
}
