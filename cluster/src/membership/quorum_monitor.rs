//! Quorum monitor: connections to the other members, and the time since a majority was last connected.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ids::NodeId;

/// Connection and drain state of the other members, as known to this one.
pub(crate) struct QuorumMonitor {
    seen: Mutex<PeerSeen>,
}

struct PeerSeen {
    up: HashSet<NodeId>,
    /// Start of the outage of each member that is down.
    down: HashMap<NodeId, Instant>,
    draining: HashMap<NodeId, bool>,
    /// Last time at which a majority was connected.
    majority: Instant,
}

// === impl QuorumMonitor ===

impl QuorumMonitor {
    pub(crate) fn new() -> QuorumMonitor {
        let seen = PeerSeen {
            up: HashSet::new(),
            down: HashMap::new(),
            draining: HashMap::new(),
            majority: Instant::now(),
        };
        QuorumMonitor {
            seen: Mutex::new(seen),
        }
    }

    pub(crate) fn link_up(&self, peer: NodeId) {
        let mut seen = self.seen.lock();
        seen.up.insert(peer);
        seen.down.remove(&peer);
    }

    pub(crate) fn link_down(&self, peer: NodeId) {
        let mut seen = self.seen.lock();
        seen.up.remove(&peer);
        // The member may return as a new process that does not drain; its next announcement contains the state.
        seen.draining.remove(&peer);
        seen.down.insert(peer, Instant::now());
    }

    pub(crate) fn says_draining(&self, peer: NodeId, draining: bool) {
        self.seen.lock().draining.insert(peer, draining);
    }

    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.seen.lock().up.contains(&peer)
    }

    /// Returns how long a member has been down; `None` if it is up or not known yet.
    pub(crate) fn down_for(&self, peer: NodeId) -> Option<Duration> {
        self.seen.lock().down.get(&peer).map(Instant::elapsed)
    }

    pub(crate) fn is_draining(&self, peer: NodeId) -> bool {
        self.seen.lock().draining.get(&peer).copied().unwrap_or(false)
    }

    /// Updates and returns the time without a majority. `others` are all members but this one. Must be called
    /// regularly, because only a call notices a majority.
    pub(crate) fn without_majority(&self, others: &[NodeId]) -> Duration {
        let mut seen = self.seen.lock();
        let PeerSeen { up, down, .. } = &mut *seen;
        // A member that has never been up has no event that marks the start of its outage.
        for peer in others.iter().filter(|peer| !up.contains(peer)) {
            down.entry(*peer).or_insert_with(Instant::now);
        }
        down.retain(|peer, _| others.contains(peer));
        // This member counts, too: alone in its cluster it is a majority.
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
        let health = QuorumMonitor::new();
        let others = [NodeId(2), NodeId(3)];
        health.link_up(NodeId(2));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(health.without_majority(&others), Duration::ZERO);
        health.link_down(NodeId(2));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(health.without_majority(&others), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn member_is_down_since_link_loss_or_since_the_first_check() {
        let health = QuorumMonitor::new();
        health.link_up(NodeId(2));
        tokio::time::advance(Duration::from_secs(5)).await;
        health.without_majority(&[NodeId(2), NodeId(3)]);
        tokio::time::advance(Duration::from_secs(7)).await;
        health.link_down(NodeId(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        health.without_majority(&[NodeId(2), NodeId(3)]);
        let down = [NodeId(2), NodeId(3)].map(|peer| health.down_for(peer));
        assert_eq!(down, [Some(Duration::from_secs(1)), Some(Duration::from_secs(8))]);
        // One comes back, one is removed.
        health.link_up(NodeId(2));
        health.without_majority(&[NodeId(2)]);
        assert_eq!(
            [NodeId(2), NodeId(3)].map(|peer| health.down_for(peer)),
            [None, None]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_member_is_its_own_majority() {
        let health = QuorumMonitor::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(health.without_majority(&[]), Duration::ZERO);
    }
}
