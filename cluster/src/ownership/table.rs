//! The routing table: who owns each shard, as far as this node has heard. The newest epoch wins.

use std::collections::HashMap;

use parking_lot::RwLock;
use storage::ShardId;
use tokio::sync::watch;

use crate::types::NodeId;

/// Owners by shard. Soft state: filled by announcements and refusals, checked by the owner itself.
pub(crate) struct Table {
    owners: RwLock<HashMap<ShardId, (NodeId, u64)>>,
    version: watch::Sender<u64>,
}

// === impl Table ===

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            owners: RwLock::default(),
            version: watch::channel(0).0,
        }
    }

    pub(crate) fn owner(&self, shard: ShardId) -> Option<(NodeId, u64)> {
        self.owners.read().get(&shard).copied()
    }

    /// Learns of an owner. An older epoch than the one known is ignored.
    pub(crate) fn learn(&self, shard: ShardId, owner: NodeId, epoch: u64) {
        let mut owners = self.owners.write();
        let known = owners.entry(shard).or_default();
        if known.1 < epoch {
            *known = (owner, epoch);
            drop(owners);
            self.touch();
        }
    }

    /// Tells those who wait for a change that there is one (also used when the map changes).
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
    fn the_newest_epoch_wins_in_whatever_order_the_news_come() {
        let table = Table::new();
        let shard = ShardId(3);
        table.learn(shard, NodeId(2), 20);
        table.learn(shard, NodeId(1), 10);
        assert_eq!(table.owner(shard), Some((NodeId(2), 20)));
        table.learn(shard, NodeId(3), 30);
        assert_eq!(table.owner(shard), Some((NodeId(3), 30)));
    }
}
