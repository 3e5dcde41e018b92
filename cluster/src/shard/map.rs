//! The map of the cluster: its members, and which of them hold which shard. The state of the meta group.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::{State, Table, Transaction};

use crate::error::Error;
use crate::machine::{Batch, Machine};
use crate::types::{NodeId, NodeInfo};

/// The map's form on disk and on the wire; a node refuses another.
const VERSION: u8 = 1;
const KEY: &[u8] = b"map";

/// Who is a member, and who holds what. Changed only by [`Change`]s in the meta group's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Identity of the cluster: a random number drawn when it was bootstrapped. Zero: not bootstrapped.
    pub cluster: u64,
    /// Counts the changes.
    pub version: u64,
    /// The members.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Where each shard is; their number never changes.
    pub shards: Vec<Placement>,
    /// Where the meta group is.
    pub meta: Placement,
    /// The next id to give out; ids are never used again.
    next_node: u64,
    /// The tickets with which members joined, so that a repeated request gets the same id.
    tickets: BTreeMap<u64, NodeId>,
}

/// Where a shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The members that hold a replica, or are to hold one.
    pub replicas: Vec<NodeId>,
    /// Which of them should lead when all is well.
    pub preferred: NodeId,
}

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Makes the map, with one member that holds everything. Only on an empty map.
    Create {
        /// Identity of the cluster.
        cluster: u64,
        /// Number of shards, for ever.
        shards: u16,
        /// Address of the first member.
        addr: String,
        /// Failure domain of the first member.
        zone: String,
    },
    /// Admits a member. The same ticket gets the same id.
    Join {
        /// Drawn at random by the joining process.
        ticket: u64,
        /// Its address.
        addr: String,
        /// Its failure domain.
        zone: String,
    },
    /// A member says where it can be reached now.
    Move {
        /// The member.
        node: NodeId,
        /// Its address.
        addr: String,
        /// Its failure domain.
        zone: String,
    },
    /// Forgets a member for good: its replicas are placed on others, its id is never given out again.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// Places all shards anew, if the map is still the one that the placement was made for.
    Place {
        /// Version of that map.
        based_on: u64,
        /// One per shard.
        shards: Vec<Placement>,
        /// The meta group's.
        meta: Placement,
    },
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// The map has this version now.
    Done {
        /// The version.
        version: u64,
    },
    /// The new member's id.
    Joined {
        /// The id.
        node: NodeId,
        /// Identity of the cluster it joined.
        cluster: u64,
    },
    /// Nothing changed.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Applies [`Change`]s.
#[derive(Debug)]
pub(crate) struct MapMachine;

// === impl Map ===

impl Map {
    /// The placement of a shard or of the meta group.
    #[must_use]
    pub fn placement(&self, shard: storage::ShardId) -> Option<&Placement> {
        if shard == super::META {
            Some(&self.meta)
        } else {
            self.shards.get(usize::from(shard.0))
        }
    }

    /// Returns whether the node was a member once and is none any more. Numbers are given out in order and never twice.
    #[must_use]
    pub fn has_removed(&self, node: NodeId) -> bool {
        node.0 > 0 && node.0 < self.next_node && !self.nodes.contains_key(&node)
    }

    /// Every shard's id, then the meta group's.
    pub(crate) fn all_shards(&self) -> impl Iterator<Item = storage::ShardId> + use<> {
        let count = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        (0..count).map(storage::ShardId).chain([super::META])
    }

    /// Reads the map from a replica of the meta group.
    pub(crate) fn load(state: &State) -> Result<Option<Map>, Error> {
        state
            .get(Table::Meta, KEY)?
            .map(|bytes| Map::decode(&bytes))
            .transpose()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let encoded = postcard::to_extend(self, vec![VERSION]);
        Bytes::from(encoded.expect("a map is plain data, which postcard always writes"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Map, Error> {
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

    /// Pure: the same change to the same map has the same effect on each replica.
    pub(crate) fn apply(&mut self, change: Change) -> Changed {
        let refused = |reason: &str| Changed::Refused {
            reason: reason.to_owned(),
        };
        if self.cluster == 0 && !matches!(change, Change::Create { .. }) {
            return refused("the cluster is not bootstrapped");
        }
        match change {
            Change::Create { .. } if self.cluster != 0 => return refused("the cluster exists"),
            Change::Create {
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
            Change::Join { ticket, addr, zone } => {
                let known = self.tickets.get(&ticket).copied();
                let id = known.unwrap_or(NodeId(self.next_node));
                if known.is_none() {
                    self.next_node += 1;
                    self.tickets.insert(ticket, id);
                    self.nodes.insert(id, NodeInfo { id, addr, zone });
                    self.version += 1;
                }
                return Changed::Joined {
                    node: id,
                    cluster: self.cluster,
                };
            }
            Change::Move { node, addr, zone } => match self.nodes.get_mut(&node) {
                Some(info) => *info = NodeInfo { id: node, addr, zone },
                None => return refused("no such member"),
            },
            Change::Remove { .. } if self.nodes.len() < 2 => {
                return refused("the last member can't be removed");
            }
            Change::Remove { node } => {
                if self.nodes.remove(&node).is_none() {
                    return refused("no such member");
                }
                // A process that still holds the ticket must not come back under the old id.
                self.tickets.retain(|_, of| *of != node);
            }
            Change::Place { based_on, .. } if based_on != self.version => {
                return refused("the map has changed");
            }
            Change::Place { shards, .. } if shards.len() != self.shards.len() => {
                return refused("the number of shards never changes");
            }
            Change::Place { shards, meta, .. } => {
                self.shards = shards;
                self.meta = meta;
            }
        }
        self.version += 1;
        Changed::Done {
            version: self.version,
        }
    }
}

impl Change {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(postcard::to_stdvec(self).expect("a change is plain data, which postcard always writes"))
    }
}

impl Changed {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(
            postcard::to_stdvec(self).expect("an outcome is plain data, which postcard always writes"),
        )
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Changed, Error> {
        postcard::from_bytes(bytes).map_err(|e| Error::Corrupt {
            what: "map outcome",
            reason: e.to_string(),
        })
    }
}

// === impl MapMachine ===

impl Machine for MapMachine {
    fn apply(&self, tx: &mut Transaction, batch: &Batch<'_>) -> Result<Vec<Bytes>, storage::Error> {
        let stored = tx.get(Table::Meta, KEY)?;
        let mut map = match stored.as_deref().map(Map::decode) {
            None => Map::default(),
            Some(Ok(map)) => map,
            Some(Err(error)) => {
                let refused = Changed::Refused {
                    reason: error.to_string(),
                }
                .encode();
                return Ok(vec![refused; batch.commands.len()]);
            }
        };
        let before = map.version;
        let outcomes = batch
            .commands
            .iter()
            .map(|command| match postcard::from_bytes(command) {
                Ok(change) => map.apply(change).encode(),
                Err(error) => Changed::Refused {
                    reason: error.to_string(),
                }
                .encode(),
            })
            .collect();
        if map.version != before {
            tx.put(Table::Meta, KEY, &map.encode());
        }
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> Map {
        let mut map = Map::default();
        let create = Change::Create {
            cluster: 7,
            shards: 4,
            addr: "a:1".into(),
            zone: String::new(),
        };
        assert_eq!(map.apply(create.clone()), Changed::Done { version: 1 });
        assert!(matches!(map.apply(create), Changed::Refused { .. }));
        map
    }

    fn join(ticket: u64) -> Change {
        Change::Join {
            ticket,
            addr: "b:1".into(),
            zone: String::new(),
        }
    }

    #[test]
    fn a_repeated_join_gets_the_same_id_and_ids_are_never_reused() {
        let mut map = created();
        let second = Changed::Joined {
            node: NodeId(2),
            cluster: 7,
        };
        assert_eq!(map.apply(join(11)), second);
        assert_eq!(map.apply(join(11)), second);
        assert_eq!(
            map.apply(join(12)),
            Changed::Joined {
                node: NodeId(3),
                cluster: 7
            }
        );
        assert_eq!(map.nodes.len(), 3);
    }

    #[test]
    fn a_placement_made_for_another_map_is_refused() {
        let mut map = created();
        let place = |based_on, count| Change::Place {
            based_on,
            shards: vec![Placement::default(); count],
            meta: Placement::default(),
        };
        assert!(matches!(map.apply(place(0, 4)), Changed::Refused { .. }));
        assert!(matches!(map.apply(place(1, 5)), Changed::Refused { .. }));
        assert_eq!(map.apply(place(1, 4)), Changed::Done { version: 2 });
    }

    #[test]
    fn a_removed_member_is_forgotten_and_its_id_is_not_given_out_again() {
        let mut map = created();
        map.apply(join(11));
        let remove = |node| Change::Remove { node: NodeId(node) };
        assert!(!map.has_removed(NodeId(2)));
        assert_eq!(map.apply(remove(2)), Changed::Done { version: 3 });
        assert!(map.has_removed(NodeId(2)));
        assert!(!map.has_removed(NodeId(3)), "a number that was not given out yet");
        assert!(!map.has_removed(NodeId(0)), "a node without a number");
        assert!(matches!(map.apply(remove(2)), Changed::Refused { .. }));
        assert!(
            matches!(map.apply(remove(1)), Changed::Refused { .. }),
            "the last member stays"
        );
        assert_eq!(
            map.apply(join(11)),
            Changed::Joined {
                node: NodeId(3),
                cluster: 7
            }
        );
    }

    #[test]
    fn nobody_joins_a_cluster_that_does_not_exist() {
        assert!(matches!(Map::default().apply(join(1)), Changed::Refused { .. }));
    }

    #[test]
    fn a_map_is_read_back() {
        let mut map = created();
        map.apply(join(3));
        assert_eq!(Map::decode(&map.encode()).unwrap(), map);
        assert!(Map::decode(&[9, 9]).is_err());
    }
}
