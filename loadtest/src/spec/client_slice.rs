//! Distribution of the clients over the processes of a run.

use serde::{Deserialize, Serialize};

use crate::payload::ClientIx;

/// Slice of the clients that belongs to this process: every `workers`-th, so that conversations extend over all
/// workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientSlice {
    /// Index of the worker, from 0.
    pub(crate) worker: u32,
    pub(crate) workers: u32,
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
