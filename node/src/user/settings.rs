//! Bounds and times of presence, each with its reason.

use std::time::Duration;

/// Settings of presence. Every field has a default that fits a node of a few cores.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Grace period after the last session of a user, so that a flapping connection causes no presence events.
    pub hold_down: Duration,
    /// Time for which a new owner defers queries about users without a registration: all nodes find the new owner and
    /// register within it.
    pub register_timeout: Duration,
    /// Time without a heartbeat after which a node's sessions are removed.
    pub node_timeout: Duration,
    /// Minimum time between two requests of a node to one shard, unless a session needs its verdict: changes in between
    /// are sent together.
    pub gather: Duration,
    /// Minimum time between two proposals of a user's last-seen time, so that presence costs the log next to nothing.
    pub save_every: Duration,
    /// Maximum number of sessions of one user on all nodes.
    pub sessions_per_user: usize,
    /// Maximum number of displacements among the instances of a device within
    /// [`displacement_window`](Self::displacement_window), so that two copies of an app do not displace each other for
    /// ever.
    pub displacements: usize,
    /// Time window in which [`displacements`](Self::displacements) are counted.
    pub displacement_window: Duration,
    /// Size of the largest conversation in which typing is sent.
    pub typing_members: u64,
    /// Maximum number of queued updates of owners; more are refused and sent again.
    pub updates: usize,
    /// Maximum number of batches queued per worker; beyond it only the newest state of each user is retained.
    pub worker_batches: usize,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hold_down: Duration::from_secs(20),
            register_timeout: Duration::from_secs(1),
            node_timeout: Duration::from_secs(5),
            gather: Duration::from_millis(100),
            save_every: Duration::from_secs(300),
            sessions_per_user: 100,
            displacements: 3,
            displacement_window: Duration::from_secs(10),
            typing_members: 256,
            updates: 256,
            worker_batches: 64,
        }
    }
}
