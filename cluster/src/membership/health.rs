//! Who is in sight: the links to other members, and whether enough of them are up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::types::NodeId;

/// The members in sight of this one.
pub(crate) struct Health {
    seen: Mutex<Seen>,
}

struct Seen {
    up: HashSet<NodeId>,
    draining: HashMap<NodeId, bool>,
    /// When a majority was in sight last.
    majority: Instant,
}

// === impl Health ===

impl Health {
    pub(crate) fn new() -> Health {
        let seen = Seen {
            up: HashSet::new(),
            draining: HashMap::new(),
            majority: Instant::now(),
        };
        Health {
            seen: Mutex::new(seen),
        }
    }

    pub(crate) fn link_up(&self, peer: NodeId) {
        self.seen.lock().up.insert(peer);
    }

    pub(crate) fn link_down(&self, peer: NodeId) {
        let mut seen = self.seen.lock();
        seen.up.remove(&peer);
        seen.draining.remove(&peer);
    }

    pub(crate) fn says_draining(&self, peer: NodeId, draining: bool) {
        self.seen.lock().draining.insert(peer, draining);
    }

    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.seen.lock().up.contains(&peer)
    }

    pub(crate) fn is_draining(&self, peer: NodeId) -> bool {
        self.seen.lock().draining.get(&peer).copied().unwrap_or(false)
    }

    /// Looks again; `others` are all members but this one. Returns how long no majority has been in sight.
    pub(crate) fn without_majority(&self, others: &[NodeId]) -> Duration {
        let mut seen = self.seen.lock();
        let in_sight = 1 + others.iter().filter(|peer| seen.up.contains(peer)).count();
        if in_sight * 2 > others.len() + 1 {
            seen.majority = Instant::now();
        }
        seen.majority.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_member_that_sees_no_majority_counts_the_time() {
        let health = Health::new();
        let others = [NodeId(2), NodeId(3)];
        health.link_up(NodeId(2));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(health.without_majority(&others), Duration::ZERO);
        health.link_down(NodeId(2));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(health.without_majority(&others), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_member_is_its_own_majority() {
        let health = Health::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(health.without_majority(&[]), Duration::ZERO);
    }
}
