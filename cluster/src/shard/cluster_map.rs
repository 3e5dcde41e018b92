//! Cluster map: the members and the replicas of each shard. It is the state of the meta group.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::ShardState;

use crate::error::Error;
use crate::ids::{META_SHARD, META_TABLE, NodeId, NodeInfo};

/// Version of the map's encoding on disk and on the wire; a node refuses any other.
const VERSION: u8 = 1;
/// Key of the map among the rows of the meta group.
pub(super) const KEY: &[u8] = b"map";

/// Members of the cluster and placement of the shards. Changed only by [`MapChange`]s in the meta group's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterMap {
    /// Cluster id: a random number drawn at bootstrap. Zero: not bootstrapped.
    pub cluster: u64,
    /// Number of changes so far.
    pub version: u64,
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
    },
    /// Adds a member. The same ticket gets the same id.
    Join {
        /// Random number that the joining node draws and stores.
        ticket: u64,
        addr: String,
        zone: String,
    },
    /// Updates the address and the failure domain of a member.
    Move {
        node: NodeId,
        addr: String,
        zone: String,
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
            } => {
                let first = NodeId(1);
                let here = Placement {
                    replicas: vec![first],
                    preferred: first,
                };
                self.cluster = cluster;
                self.shards = vec![here.clone(); usize::from(shards)];
                self.meta = here;
                self.nodes.insert(
                    first,
                    NodeInfo {
                        id: first,
                        addr,
                        zone,
                    },
                );
                self.next_node = 2;
            }
            MapChange::Join { ticket, addr, zone } => {
                // The joining node repeats its request after a crash or a lost response; a second id would stay in the
                // map.
                let known = self.tickets.get(&ticket).copied();
                let id = known.unwrap_or(NodeId(self.next_node));
                if known.is_none() {
                    self.next_node += 1;
                    self.tickets.insert(ticket, id);
                    self.nodes.insert(id, NodeInfo { id, addr, zone });
                    self.version += 1;
                }
                return MapChangeResult::Joined {
                    node: id,
                    cluster: self.cluster,
                };
            }
            MapChange::Move { node, addr, zone } => match self.nodes.get_mut(&node) {
                Some(info) => *info = NodeInfo { id: node, addr, zone },
                None => return refused("no such member"),
            },
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
    fn a_removed_member_is_forgotten_and_its_id_is_not_given_out_again() {
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
