//! Bounds and times of presence, each with its reason.

use std::time::Duration;

/// Every field has a default that fits a node of a few cores.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long after the last session a user still counts as present: a flapping link doesn't flicker.
    pub hold_down: Duration,
    /// How long a new owner lets a question wait about one whose node has not spoken yet: so long may it take all nodes to
    /// hear of the owner and to tell it everything.
    pub settle: Duration,
    /// After this long without a sign of a node, its sessions are gone.
    pub silence: Duration,
    /// Least time between two requests of a node about one shard, unless a session waits to be let in: what happens
    /// meanwhile goes together.
    pub gather: Duration,
    /// Least time between two notes of when a user was seen last: presence may cost the log next to nothing.
    pub save_every: Duration,
    /// Sessions of one user on all nodes.
    pub sessions_per_user: usize,
    /// Times that instances of a device may displace each other within [`displacement_window`](Self::displacement_window):
    /// two copies of an app must not fight for ever.
    pub displacements: usize,
    /// See [`displacements`](Self::displacements).
    pub displacement_window: Duration,
    /// Members of the largest conversation in which typing is shown.
    pub typing_members: u64,
    /// News of owners that wait for the node's attendance; more are refused and come again.
    pub news: usize,
    /// Batches that wait for a worker; more are kept back, the newest state of each user only.
    pub worker_batches: usize,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hold_down: Duration::from_secs(20),
            settle: Duration::from_secs(1),
            silence: Duration::from_secs(5),
            gather: Duration::from_millis(100),
            save_every: Duration::from_secs(300),
            sessions_per_user: 100,
            displacements: 3,
            displacement_window: Duration::from_secs(10),
            typing_members: 256,
            news: 256,
            worker_batches: 64,
        }
    }
}
