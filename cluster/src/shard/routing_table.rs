//! Routing table: the newest known owner and epoch of each shard.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use storage::ShardId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::NodeId;

/// Owners by shard. Soft state, filled by announcements and `NotOwner` responses; the owner itself checks each request.
pub(crate) struct RoutingTable {
    owners: RwLock<HashMap<ShardId, (NodeId, u64)>>,
    /// Time of the last announcement by the newest known owner of each shard.
    announced: RwLock<HashMap<ShardId, Instant>>,
    version: watch::Sender<u64>,
}

// === impl RoutingTable ===

impl RoutingTable {
    pub(crate) fn new() -> RoutingTable {
        RoutingTable {
            owners: RwLock::default(),
            announced: RwLock::default(),
            version: watch::channel(0).0,
        }
    }

    pub(crate) fn owner(&self, shard: ShardId) -> Option<(NodeId, u64)> {
        self.owners.read().get(&shard).copied()
    }

    /// Records an owner. Ignores an epoch that is not newer than the known one.
    pub(crate) fn learn(&self, shard: ShardId, owner: NodeId, epoch: u64) {
        let mut owners = self.owners.write();
        let known = owners.entry(shard).or_default();
        // Announcements repeat the same epoch every second: only a change may wake the watchers.
        if known.1 < epoch {
            *known = (owner, epoch);
            // Watchers read the table when they wake, so the lock is released first.
            drop(owners);
            self.touch();
        }
    }

    /// Records an owner that announced itself.
    pub(crate) fn record_announcement(&self, shard: ShardId, owner: NodeId, epoch: u64, now: Instant) {
        self.learn(shard, owner, epoch);
        // A deposed owner announces itself, too, until it learns of its successor.
        if self.owner(shard) == Some((owner, epoch)) {
            self.announced.write().insert(shard, now);
        }
    }

    /// Returns whether the newest known owner announced itself within `period` before `now`.
    pub(crate) fn is_announced(&self, shard: ShardId, period: Duration, now: Instant) -> bool {
        let announced = self.announced.read();
        let last = announced.get(&shard);
        last.is_some_and(|at| now.saturating_duration_since(*at) <= period)
    }

    /// Wakes everything that watches for changes; also called when the cluster map changes.
    pub(crate) fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_epoch_wins_in_any_order_of_arrival() {
        let table = RoutingTable::new();
        let shard = ShardId(3);
        table.learn(shard, NodeId(2), 20);
        table.learn(shard, NodeId(1), 10);
        assert_eq!(table.owner(shard), Some((NodeId(2), 20)));
        table.learn(shard, NodeId(3), 30);
        assert_eq!(table.owner(shard), Some((NodeId(3), 30)));
    }

    #[test]
    fn only_the_newest_owner_counts_and_only_for_a_while() {
        let table = RoutingTable::new();
        let (shard, start, period) = (ShardId(3), Instant::now(), Duration::from_secs(3));
        let after = |seconds| start + Duration::from_secs(seconds);
        table.learn(shard, NodeId(1), 10);
        assert!(
            !table.is_announced(shard, period, start),
            "a hint is no announcement"
        );
        table.record_announcement(shard, NodeId(2), 20, start);
        assert!(table.is_announced(shard, period, after(3)));
        assert!(!table.is_announced(shard, period, after(4)));
        table.record_announcement(shard, NodeId(1), 10, after(4));
        assert!(!table.is_announced(shard, period, after(4)), "a deposed owner");
        table.record_announcement(shard, NodeId(2), 20, after(5));
        assert!(table.is_announced(shard, period, after(6)));
    }
}
