//! Status of a member: routes, readiness and the state of shards and members.

use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::ShardId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::{META_SHARD, NodeId, NodeInfo, NodeStatus, Route, ShardStatus, Status, shard_name};
use crate::member::Member;
use crate::membership::assign;

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

    pub(crate) fn isolated(&self) -> bool {
        self.health.without_majority(&self.others()) > self.config.isolated_after
    }

    pub(crate) fn ready(&self) -> Result<(), String> {
        if let Some(reason) = self.store_poisoned() {
            return Err(format!("storage failed: {reason}"));
        }
        if self.removed() {
            return Err(format!(
                "removed from the cluster: node {} will not be admitted again; stop it, empty storage.dir, and start it to join under a new number",
                self.id()
            ));
        }
        if self.is_below_level() {
            return Err(format!(
                "this build supports feature level {}, which the cluster has passed: start a newer build",
                self.config.supported_level
            ));
        }
        if let Some(reason) = self.stopped_replica() {
            return Err(reason);
        }
        if self.is_draining() {
            return Err("draining".to_owned());
        }
        if self.isolated() {
            return Err("isolated: no contact with a majority of the members".to_owned());
        }
        let standing = self.clock().look();
        if standing.outside {
            return Err(wrong_clock(standing.skew_ms));
        }
        let map = self.map();
        for shard in map.all_shards() {
            if self.table.owner(shard).is_none() {
                return Err(format!("shard {} has no known owner", shard_name(shard)));
            }
        }
        // Checked until it holds once: a later change of the placement must not take a working node out of service.
        if self.is_stable.load(Ordering::Acquire) {
            return Ok(());
        }
        self.caught_up()?;
        self.is_stable.store(true, Ordering::Release);
        Ok(())
    }

    /// Checks that the placement is complete and that this member's replicas are voters of their groups.
    fn caught_up(&self) -> Result<(), String> {
        let map = self.map();
        let members: Vec<NodeInfo> = map.nodes.values().cloned().collect();
        let (shards, meta) = assign(&members, self.shard_count(), self.config.replication);
        // The map's placement is not the one for the current members yet, so it does not show this member's share.
        if (&map.shards, &map.meta) != (&shards, &meta) {
            return Err("the shards are being placed".to_owned());
        }
        for shard in map.all_shards() {
            let Some(placement) = map.placement(shard) else {
                continue;
            };
            if !placement.replicas.contains(&self.id()) {
                continue;
            }
            let complete = self.replica(shard).is_some_and(|replica| {
                let voters = replica.group.voters();
                voters.len() == placement.replicas.len()
                    && placement.replicas.iter().all(|n| voters.contains(n))
            });
            if !complete {
                return Err(format!("shard {} is being copied", shard_name(shard)));
            }
        }
        Ok(())
    }

    /// Returns the number of shards, with the meta group, that this member does not own and of whose owner no recent
    /// announcement has arrived.
    pub(crate) fn shards_without_owner(&self) -> usize {
        let now = Instant::now();
        let is_owned = |shard: &ShardId| {
            self.owned_epoch(*shard).is_some() || self.table.is_announced(*shard, OWNER_TIMEOUT, now)
        };
        self.map().all_shards().filter(|shard| !is_owned(shard)).count()
    }

    /// Returns the number of shards, with the meta group, that one more loss would leave without a majority, because a
    /// replica is on a member without a connection to this one.
    pub(crate) fn shards_without_spare(&self) -> usize {
        let map = self.map();
        let is_up = |node: NodeId| node == self.id() || self.health.is_up(node);
        map.all_shards()
            .filter_map(|shard| map.placement(shard))
            .filter(|placement| {
                let replicas = placement.replicas.len();
                let up = placement.replicas.iter().filter(|&&node| is_up(node)).count();
                up < replicas && up <= replicas / 2 + 1
            })
            .count()
    }

    pub(crate) fn failed_replicas(&self) -> usize {
        let replicas = self.all_replicas();
        replicas
            .iter()
            .filter(|replica| replica.group.undecodable().is_some())
            .count()
    }

    /// Returns the readiness error for a replica that stopped before an entry that this build cannot decode.
    fn stopped_replica(&self) -> Option<String> {
        let replicas = self.all_replicas();
        replicas.iter().find_map(|replica| {
            let reason = replica.group.undecodable()?;
            let shard = shard_name(replica.group.shard());
            Some(format!(
                "the replica of shard {shard} stopped, start a newer build: {reason}"
            ))
        })
    }

    fn store_poisoned(&self) -> Option<String> {
        self.store.poisoned()
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
                    alive: node.id == me || self.health.is_up(node.id),
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

/// Returns the readiness error for a clock that is too far from the majority's.
fn wrong_clock(skew_ms: Option<i64>) -> String {
    let how = match skew_ms {
        Some(skew_ms) if skew_ms < 0 => format!("{} ms behind the majority's", skew_ms.unsigned_abs()),
        Some(skew_ms) => format!("{skew_ms} ms ahead of the majority's"),
        None => "too far from the majority's by an unknown amount".to_owned(),
    };
    format!("the clock is {how}: this node owns no shards until it is corrected")
}
