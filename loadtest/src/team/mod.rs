//! Several processes that load one cluster together. A coordinator has no clients: it waits for its workers, gives
//! each the same command line and its share of the clients, starts them at one time, injects the faults, and joins
//! what they measured and judged. Everybody makes the same plan from the same seed, so all agree on who is who.
//!
//! Each worker's oracle judges the views of its own clients. What no worker can see alone, the coordinator compares:
//! each tells the digest of every event of a conversation that others have members in, too ([`logs`]), so a fork
//! between clients of two workers is as visible as one between two clients.
//!
//! The link is plain TCP, and its secret travels in the clear: it keeps out a worker of another run, not an enemy.
//! It belongs on a network that is trusted.

mod coordinator;
mod door;
mod heard;
mod link;
mod logs;
mod message;
#[cfg(test)]
mod tests;
mod worker;

use serde::{Deserialize, Serialize};

pub(crate) use self::coordinator::Team;
pub(crate) use self::message::Told;
pub(crate) use self::worker::work;
use crate::payload::ClientIx;

/// Which clients of the plan are this process's: every `workers`-th, so that conversations reach over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Share {
    /// From 0.
    pub(crate) worker: u32,
    pub(crate) workers: u32,
}

/// Why the workers could not do it together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no listening on {0}: {1}")]
    Listen(String, std::io::Error),
    #[error("the coordinator {0} cannot be reached: {1}")]
    Unreachable(String, std::io::Error),
    #[error("only {came} of {wanted} workers came within {waited:?}")]
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
    #[error("after {waited:?} not every worker had {what}")]
    Late {
        what: &'static str,
        waited: std::time::Duration,
    },
    #[error("the coordinator {0}")]
    Coordinator(String),
}

// === impl Share ===

impl Share {
    /// One process has all clients.
    pub(crate) const ALL: Share = Share {
        worker: 0,
        workers: 1,
    };

    pub(crate) fn owns(self, client: ClientIx) -> bool {
        self.worker_of(client) == self.worker
    }

    /// Whose client it is.
    pub(crate) fn worker_of(self, client: ClientIx) -> u32 {
        client % self.workers.max(1)
    }

    /// The workers that have members among these.
    pub(crate) fn seen_by(self, members: &[ClientIx]) -> Vec<u32> {
        let mut workers: Vec<u32> = members.iter().map(|member| self.worker_of(*member)).collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    }
}
