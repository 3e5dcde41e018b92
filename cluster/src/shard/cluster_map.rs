//! Cluster map: the members and the replicas of each shard. It is the state of the meta group.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::ShardState;

use crate::error::Error;
use crate::ids::{FeatureLevel, META_SHARD, META_TABLE, NodeId, NodeInfo};
use crate::state_machine::UndecodableCommand;

/// Version of the map's encoding on disk and on the wire; a node refuses any other.
const VERSION: u8 = 2;
/// Key of the map among the rows of the meta group.
pub(super) const KEY: &[u8] = b"map";

/// Members of the cluster and placement of the shards. Changed only by [`MapChange`]s in the meta group's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterMap {
    /// Cluster id: a random number drawn at bootstrap. Zero: not bootstrapped.
    pub cluster: u64,
    /// Number of changes so far.
    pub version: u64,
    /// Feature level of the cluster; never falls.
    pub level: FeatureLevel,
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Placement of each shard, by number; the length never changes.
    pub shards: Vec<Placement>,
    /// Placement of the meta group.
    pub meta: Placement,
    /// Next id to assign; ids are never assigned twice.
    next_node: u64,
    /// Join tickets of the members, so that a repeated join request gets the same id.
    tickets: BTreeMap<u64, NodeId>,
}

/// Replica set of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// Members that hold a replica or shall hold one.
    pub replicas: Vec<NodeId>,
    /// Replica that leads the group in normal operation.
    pub preferred: NodeId,
}

/// Change of the cluster map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MapChange {
    /// Creates the map, with one member that holds everything. Refused unless the map is empty.
    Create {
        cluster: u64,
        /// Number of shards; never changes afterwards.
        shards: u16,
        addr: String,
        zone: String,
        supported_level: FeatureLevel,
    },
    /// Adds a member. The same ticket gets the same id.
    Join {
        /// Random number that the joining node draws and stores.
        ticket: u64,
        addr: String,
        zone: String,
        supported_level: FeatureLevel,
    },
    /// Updates the address, the failure domain and the supported level of a member.
    Move {
        node: NodeId,
        addr: String,
        zone: String,
        supported_level: FeatureLevel,
    },
    /// Removes a member for good: its replicas are placed on others, and its id is never assigned again.
    Remove { node: NodeId },
    /// Replaces the placement of all shards if the map still has the version for which it was computed.
    AssignShards {
        based_on: u64,
        /// One placement per shard.
        shards: Vec<Placement>,
        meta: Placement,
    },
    /// Raises the feature level. Refused unless every member supports it.
    RaiseLevel { level: FeatureLevel },
}

/// Result of a [`MapChange`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MapChangeResult {
    /// The change was applied.
    Done {
        /// Version of the map after the change.
        version: u64,
    },
    /// The member joined, now or by an earlier request with the same ticket.
    Joined {
        node: NodeId,
        cluster: u64,
    },
    Refused {
        reason: String,
    },
    /// The joining node does not support the level of the cluster.
    BelowLevel {
        level: FeatureLevel,
    },
}

// === impl ClusterMap ===

impl ClusterMap {
    /// Returns the placement of a shard or of the meta group; `None` for an unknown shard.
    #[must_use]
    pub(crate) fn placement(&self, shard: storage::ShardId) -> Option<&Placement> {
        if shard == META_SHARD {
            Some(&self.meta)
        } else {
            self.shards.get(usize::from(shard.0))
        }
    }

    /// Returns true if the node was a member once and is none any more. Ids are assigned in order and never twice, so
    /// the map needs no list of removed members.
    #[must_use]
    pub(crate) fn has_removed(&self, node: NodeId) -> bool {
        node.0 > 0 && node.0 < self.next_node && !self.nodes.contains_key(&node)
    }

    /// Returns the highest level that every member supports.
    pub(crate) fn common_level(&self) -> FeatureLevel {
        let supported = self.nodes.values().map(|node| node.supported_level);
        supported.min().unwrap_or_default()
    }

    /// Returns the id of every shard, then of the meta group.
    pub(crate) fn all_shards(&self) -> impl Iterator<Item = storage::ShardId> + use<> {
        let count = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        (0..count).map(storage::ShardId).chain([META_SHARD])
    }

    /// Reads the map from a replica of the meta group; `None` before the bootstrap.
    pub(crate) fn load(state: &ShardState) -> Result<Option<ClusterMap>, Error> {
        state
            .get(META_TABLE, KEY)?
            .map(|bytes| ClusterMap::decode(&bytes))
            .transpose()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let encoded = postcard::to_extend(self, vec![VERSION]);
        Bytes::from(encoded.expect("a map is plain data, which postcard always writes"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ClusterMap, Error> {
        let corrupt = |reason: String| Error::Corrupt {
            what: "cluster map",
            reason,
        };
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| corrupt(e.to_string())),
            Some((version, _)) => Err(corrupt(format!("version {version}, expected {VERSION}"))),
            None => Err(corrupt("empty".to_owned())),
        }
    }

    /// Applies a change. Pure: the same change to the same map has the same effect on each replica.
    pub(crate) fn apply(&mut self, change: MapChange) -> MapChangeResult {
        let refused = |reason: &str| MapChangeResult::Refused {
            reason: reason.to_owned(),
        };
        // Before the bootstrap there is no cluster id, so a member or a placement would belong to no cluster.
        if self.cluster == 0 && !matches!(change, MapChange::Create { .. }) {
            return refused("the cluster is not bootstrapped");
        }
        match change {
            MapChange::Create { .. } if self.cluster != 0 => return refused("the cluster already exists"),
            MapChange::Create {
                cluster,
                shards,
                addr,
                zone,
                supported_level,
            } => {
                let first = NodeId(1);
                let here = Placement {
                    replicas: vec![first],
                    preferred: first,
                };
                self.cluster = cluster;
                self.level = supported_level;
                self.shards = vec![here.clone(); usize::from(shards)];
                self.meta = here;
                self.nodes.insert(
                    first,
                    NodeInfo {
                        id: first,
                        addr,
                        zone,
                        supported_level,
                    },
                );
                self.next_node = 2;
            }
            MapChange::Join { supported_level, .. } if supported_level < self.level => {
                return MapChangeResult::BelowLevel { level: self.level };
            }
            MapChange::Join {
                ticket,
                addr,
                zone,
                supported_level,
            } => {
                // The joining node repeats its request after a crash or a lost response; a second id would stay in the
                // map.
                let known = self.tickets.get(&ticket).copied();
                let id = known.unwrap_or(NodeId(self.next_node));
                if known.is_none() {
                    self.next_node += 1;
                    self.tickets.insert(ticket, id);
                    let info = NodeInfo {
                        id,
                        addr,
                        zone,
                        supported_level,
                    };
                    self.nodes.insert(id, info);
                    self.version += 1;
                }
                return MapChangeResult::Joined {
                    node: id,
                    cluster: self.cluster,
                };
            }
            MapChange::Move { supported_level, .. } if supported_level < self.level => {
                return MapChangeResult::BelowLevel { level: self.level };
            }
            MapChange::Move {
                node,
                addr,
                zone,
                supported_level,
            } => match self.nodes.get_mut(&node) {
                Some(info) => {
                    *info = NodeInfo {
                        id: node,
                        addr,
                        zone,
                        supported_level,
                    };
                }
                None => return refused("no such member"),
            },
            MapChange::RaiseLevel { level } if level <= self.level => {
                return refused("the feature level never falls");
            }
            MapChange::RaiseLevel { level } if self.common_level() < level => {
                return refused("a member does not support the feature level");
            }
            MapChange::RaiseLevel { level } => self.level = level,
            MapChange::Remove { .. } if self.nodes.len() < 2 => {
                return refused("the last member cannot be removed");
            }
            MapChange::Remove { node } => {
                if self.nodes.remove(&node).is_none() {
                    return refused("no such member");
                }
                // A process that still holds the ticket must not rejoin under the removed id.
                self.tickets.retain(|_, of| *of != node);
            }
            // The members may have changed since the placement was computed: it could contain a removed one.
            MapChange::AssignShards { based_on, .. } if based_on != self.version => {
                return refused("the map has changed");
            }
            MapChange::AssignShards { shards, .. } if shards.len() != self.shards.len() => {
                return refused("the number of shards never changes");
            }
            MapChange::AssignShards { shards, meta, .. } => {
                self.shards = shards;
                self.meta = meta;
            }
        }
        self.version += 1;
        MapChangeResult::Done {
            version: self.version,
        }
    }
}

impl MapChange {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(postcard::to_stdvec(self).expect("a change is plain data, which postcard always writes"))
    }

    /// Decodes a whole change. The owner proposes no other bytes, since each replica would stop at them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<MapChange, UndecodableCommand> {
        let undecodable = |reason: String| UndecodableCommand {
            kind: bytes.first().copied(),
            version: VERSION,
            reason,
        };
        match postcard::take_from_bytes(bytes) {
            Ok((change, [])) => Ok(change),
            Ok(_) => Err(undecodable("bytes after the change".to_owned())),
            Err(error) => Err(undecodable(error.to_string())),
        }
    }
}

impl MapChangeResult {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(
            postcard::to_stdvec(self).expect("an outcome is plain data, which postcard always writes"),
        )
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<MapChangeResult, Error> {
        postcard::from_bytes(bytes).map_err(|e| Error::Corrupt {
            what: "map outcome",
            reason: e.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> ClusterMap {
        let mut map = ClusterMap::default();
        let create = MapChange::Create {
            cluster: 7,
            shards: 4,
            addr: "a:1".into(),
            zone: String::new(),
            supported_level: FeatureLevel(1),
        };
        assert_eq!(map.apply(create.clone()), MapChangeResult::Done { version: 1 });
        assert!(matches!(map.apply(create), MapChangeResult::Refused { .. }));
        map
    }

    fn join(ticket: u64) -> MapChange {
        MapChange::Join {
            ticket,
            addr: "b:1".into(),
            zone: String::new(),
            supported_level: FeatureLevel(1),
        }
    }

    #[test]
    fn a_repeated_join_gets_the_same_id_and_ids_are_never_reused() {
        let mut map = created();
        let second = MapChangeResult::Joined {
            node: NodeId(2),
            cluster: 7,
        };
        assert_eq!(map.apply(join(11)), second);
        assert_eq!(map.apply(join(11)), second);
        assert_eq!(
            map.apply(join(12)),
            MapChangeResult::Joined {
                node: NodeId(3),
                cluster: 7
            }
        );
        assert_eq!(map.nodes.len(), 3);
    }

    #[test]
    fn the_level_rises_with_the_last_member_and_never_falls() {
        let mut map = created();
        map.apply(join(11));
        let raise = |level| MapChange::RaiseLevel {
            level: FeatureLevel(level),
        };
        let supports = |node, level| MapChange::Move {
            node: NodeId(node),
            addr: "a:1".into(),
            zone: String::new(),
            supported_level: FeatureLevel(level),
        };
        let refused = |result| matches!(result, MapChangeResult::Refused { .. });
        assert!(refused(map.apply(raise(2))), "no member supports it");
        map.apply(supports(1, 2));
        assert!(refused(map.apply(raise(2))), "one member does not support it");
        map.apply(supports(2, 3));
        assert!(matches!(map.apply(raise(2)), MapChangeResult::Done { .. }));
        assert_eq!(map.level, FeatureLevel(2));
        assert!(refused(map.apply(raise(1))) && refused(map.apply(raise(2))));
        let below = MapChangeResult::BelowLevel {
            level: FeatureLevel(2),
        };
        assert_eq!(map.apply(supports(2, 1)), below);
        assert_eq!(map.apply(join(12)), below, "a joining node below the level");
        assert_eq!(map.nodes.len(), 2);
    }

    #[test]
    fn map_and_changes_keep_their_bytes() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut map = ClusterMap::default();
        map.apply(MapChange::Create {
            cluster: 7,
            shards: 1,
            addr: "a:1".into(),
            zone: "z".into(),
            supported_level: FeatureLevel(1),
        });
        assert_eq!(
            hex(&map.encode()),
            // Version, cluster, map version, level; one node; one shard; meta; next id; no tickets.
            "0207010101010103613a31017a01010101010101010200"
        );
        let (addr, zone) = (String::from("b:1"), String::new());
        let supported_level = FeatureLevel(2);
        let join = MapChange::Join {
            ticket: 9,
            addr: addr.clone(),
            zone: zone.clone(),
            supported_level,
        };
        let moved = MapChange::Move {
            node: NodeId(2),
            addr,
            zone,
            supported_level,
        };
        let remove = MapChange::Remove { node: NodeId(2) };
        let raise = MapChange::RaiseLevel {
            level: supported_level,
        };
        for (change, golden) in [
            (join, "010903623a310002"),
            (moved, "020203623a310002"),
            (remove, "0302"),
            (raise, "0502"),
        ] {
            assert_eq!(hex(&change.encode()), golden);
            assert_eq!(MapChange::decode(&change.encode()), Ok(change));
        }
    }

    #[test]
    fn an_unknown_change_is_undecodable() {
        let unknown = MapChange::decode(&[9, 1]).unwrap_err();
        assert_eq!((unknown.kind, unknown.version), (Some(9), VERSION));
        let longer = [&MapChange::Remove { node: NodeId(2) }.encode()[..], &[0]].concat();
        assert!(MapChange::decode(&longer).is_err());
    }

    #[test]
    fn a_placement_made_for_another_map_is_refused() {
        let mut map = created();
        let assign = |based_on, count| MapChange::AssignShards {
            based_on,
            shards: vec![Placement::default(); count],
            meta: Placement::default(),
        };
        assert!(matches!(map.apply(assign(0, 4)), MapChangeResult::Refused { .. }));
        assert!(matches!(map.apply(assign(1, 5)), MapChangeResult::Refused { .. }));
        assert_eq!(map.apply(assign(1, 4)), MapChangeResult::Done { version: 2 });
    }

    #[test]
    fn removed_member_leaves_the_map_and_its_id_is_not_reused() {
        let mut map = created();
        map.apply(join(11));
        let remove = |node| MapChange::Remove { node: NodeId(node) };
        assert!(!map.has_removed(NodeId(2)));
        assert_eq!(map.apply(remove(2)), MapChangeResult::Done { version: 3 });
        assert!(map.has_removed(NodeId(2)));
        assert!(!map.has_removed(NodeId(3)), "a number that was not given out yet");
        assert!(!map.has_removed(NodeId(0)), "a node without a number");
        assert!(matches!(map.apply(remove(2)), MapChangeResult::Refused { .. }));
        assert!(
            matches!(map.apply(remove(1)), MapChangeResult::Refused { .. }),
            "the last member stays"
        );
        assert_eq!(
            map.apply(join(11)),
            MapChangeResult::Joined {
                node: NodeId(3),
                cluster: 7
            }
        );
    }

    #[test]
    fn a_cluster_that_does_not_exist_cannot_be_joined() {
        assert!(matches!(
            ClusterMap::default().apply(join(1)),
            MapChangeResult::Refused { .. }
        ));
    }

    #[test]
    fn a_map_is_read_back() {
        let mut map = created();
        map.apply(join(3));
        assert_eq!(ClusterMap::decode(&map.encode()).unwrap(), map);
        assert!(ClusterMap::decode(&[9, 9]).is_err());
    }
}
