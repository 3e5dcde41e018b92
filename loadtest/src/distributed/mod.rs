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

mod coordinator;
mod digest_log;
mod message;
mod message_stream;
#[cfg(test)]
mod tests;
mod worker;
mod worker_registration;
mod worker_status;

use serde::{Deserialize, Serialize};

pub(crate) use self::coordinator::Coordinator;
pub(crate) use self::message::PhaseMarker;
pub(crate) use self::worker::work;
use crate::payload::ClientIx;

/// Slice of the clients that belongs to this process: every `workers`-th, so that conversations extend over all
/// workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientSlice {
    /// Index of the worker, from 0.
    pub(crate) worker: u32,
    pub(crate) workers: u32,
}

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
}

// === impl ClientSlice ===

impl ClientSlice {
    /// Slice of a single process, which runs all clients.
    pub(crate) const ALL: ClientSlice = ClientSlice {
        worker: 0,
        workers: 1,
    };

    pub(crate) fn owns(self, client: ClientIx) -> bool {
        self.worker_of(client) == self.worker
    }

    /// Returns the index of the worker that runs the client.
    pub(crate) fn worker_of(self, client: ClientIx) -> u32 {
        client % self.workers.max(1)
    }

    /// Returns the workers that run some of these members, sorted.
    pub(crate) fn seen_by(self, members: &[ClientIx]) -> Vec<u32> {
        let mut workers: Vec<u32> = members.iter().map(|member| self.worker_of(*member)).collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    }
}
