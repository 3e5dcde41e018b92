//! Numbers of threads, all from one setting. Pure.

/// Threads of a node by what they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCounts {
    /// Connections and sessions of clients.
    pub clients: usize,
    /// Shard and conversation actors.
    pub conversations: usize,
    /// Replication, and connections to other nodes.
    pub cluster: usize,
}

// === impl ThreadCounts ===

impl ThreadCounts {
    /// Divides the work among `threads`, which all serve clients: most of the CPU time is spent there. One thread of
    /// conversations handles tens of thousands of messages per second, so an eighth suffices. Replication gets a quarter,
    /// and never fewer than two: a long append of one group must not delay the heartbeats of the others.
    #[must_use]
    pub fn of(threads: usize) -> ThreadCounts {
        let clients = threads.max(1);
        ThreadCounts {
            clients,
            conversations: (clients / 8).max(1),
            cluster: (clients / 4).max(2),
        }
    }

    /// Returns the number of all threads.
    #[must_use]
    pub fn total(self) -> usize {
        self.clients + self.conversations + self.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_threads_are_never_below_one_and_two() {
        let of = |threads| {
            let counts = ThreadCounts::of(threads);
            [counts.clients, counts.conversations, counts.cluster]
        };
        assert_eq!(of(0), [1, 1, 2]);
        assert_eq!(of(2), [2, 1, 2]);
        assert_eq!(of(8), [8, 1, 2]);
        assert_eq!(of(12), [12, 1, 3]);
        assert_eq!(of(64), [64, 8, 16]);
        assert_eq!(ThreadCounts::of(64).total(), 88);
    }
}
