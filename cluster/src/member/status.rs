//! Status of a member: routes and the state of shards and members.

use std::time::Duration;

use storage::ShardId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::{META_SHARD, NodeId, NodeInfo, NodeStatus, Route, ShardStatus, Status};
use crate::member::Member;

/// Time after which an owner that announces itself no more is taken for gone: three announcements.
const OWNER_TIMEOUT: Duration = Duration::from_secs(3);

// === impl Member ===

impl Member {
    pub(crate) fn shard_count(&self) -> u16 {
        u16::try_from(self.map().shards.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn route(&self, shard: ShardId) -> Route {
        let map = self.map();
        let owner = self.table.owner(shard);
        Route {
            owner: owner.map(|(node, _)| node),
            epoch: owner.map_or(0, |(_, epoch)| epoch),
            replicas: map
                .placement(shard)
                .map(|p| p.replicas.clone())
                .unwrap_or_default(),
            map_version: map.version,
        }
    }

    pub(crate) fn routes(&self) -> watch::Receiver<u64> {
        self.table.changes()
    }

    pub(crate) fn hint(&self, shard: ShardId, owner: NodeId, epoch: u64) {
        self.table.learn(shard, owner, epoch);
    }

    pub(crate) fn owned_epoch(&self, shard: ShardId) -> Option<u64> {
        self.replica(shard)?.epoch()
    }

    /// Returns the shards that this member owns, with their epochs.
    pub(crate) fn owned(&self) -> Vec<(ShardId, u64)> {
        let replicas = self.all_replicas();
        replicas
            .iter()
            .filter_map(|replica| Some((replica.group.shard(), replica.epoch()?)))
            .collect()
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.map().nodes.values().cloned().collect()
    }

    /// Returns all members but this one.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let me = self.id();
        self.map()
            .nodes
            .keys()
            .copied()
            .filter(|&node| node != me)
            .collect()
    }

    /// Returns the members but this one whose votes count.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let map = self.map();
        map.electorate().filter(|&node| node != self.id()).collect()
    }

    pub(crate) fn isolated(&self) -> bool {
        self.health.without_majority(&self.other_voters()) > self.config.isolated_after
    }

    /// Returns the number of shards, with the meta group, that this member does not own and of whose owner no recent
    /// announcement has arrived.
    pub(crate) fn shards_without_owner(&self) -> usize {
        let map = self.map();
        map.all_shards().filter(|&shard| !self.has_owner(shard)).count()
    }

    /// Returns whether this member owns the shard or its owner has announced itself recently.
    pub(crate) fn has_owner(&self, shard: ShardId) -> bool {
        self.owned_epoch(shard).is_some() || self.table.is_announced(shard, OWNER_TIMEOUT, Instant::now())
    }

    /// Returns the number of shards, with the meta group, that have three replicas or more, of which no more than a
    /// majority is alive as seen from here.
    pub(crate) fn shards_without_spare(&self) -> usize {
        let map = self.map();
        let has_no_spare = |shard: &ShardId| {
            let replicas = map.placement(*shard).map_or(&[][..], |p| &p.replicas);
            let alive = replicas.iter().filter(|&&node| self.is_alive(node)).count();
            replicas.len() >= 3 && alive <= replicas.len() / 2 + 1
        };
        map.all_shards().filter(has_no_spare).count()
    }

    /// Returns the number of members, and of those among them that are alive as seen from here.
    pub(crate) fn member_counts(&self) -> (usize, usize) {
        let map = self.map();
        let alive = map.nodes.keys().filter(|&&node| self.is_alive(node)).count();
        (map.nodes.len(), alive)
    }

    fn is_alive(&self, node: NodeId) -> bool {
        node == self.id() || self.health.is_up(node)
    }

    pub(crate) fn failed_replicas(&self) -> usize {
        let replicas = self.all_replicas();
        replicas
            .iter()
            .filter(|replica| replica.group.undecodable().is_some())
            .count()
    }

    pub(crate) fn status(&self) -> Status {
        let map = self.map();
        let me = self.id();
        Status {
            node: me,
            cluster: format!("{:016x}", map.cluster),
            map_version: map.version,
            feature_level: map.level,
            // Ids and counts are those of the map; connections and clocks are this node's view.
            nodes: map
                .nodes
                .values()
                .map(|node| NodeStatus {
                    id: node.id,
                    addr: node.addr.clone(),
                    supported_level: node.supported_level,
                    alive: self.is_alive(node.id),
                    draining: if node.id == me {
                        self.is_draining()
                    } else {
                        self.health.is_draining(node.id)
                    },
                    clock_skew_ms: self.clock().skew_of(node.id),
                    clock_wrong: if node.id == me {
                        !self.clock().may_own()
                    } else {
                        !self.clock().peer_may_own(node.id)
                    },
                    duty: map.duty(node.id),
                })
                .collect(),
            shards: map
                .all_shards()
                .filter(|&shard| shard != META_SHARD)
                .map(|shard| self.shard_status(shard))
                .collect(),
            meta: self.shard_status(META_SHARD),
            durability: if self.config.fsync { "fsync" } else { "os" },
        }
    }

    fn shard_status(&self, shard: ShardId) -> ShardStatus {
        let route = self.route(shard);
        ShardStatus {
            shard: shard.0,
            owner: route.owner,
            epoch: route.epoch,
            replicas: route.replicas,
            preferred: self.map().placement(shard).map(|placement| placement.preferred),
            local: self.replica(shard).map(|replica| replica.group.status()),
        }
    }
}
