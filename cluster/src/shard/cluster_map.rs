//! Cluster map: the members and the replicas of each shard. It is the state of the meta group.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::{ShardState, Transaction};

use super::map_change::{MapChange, MapChangeResult};
use crate::error::Error;
use crate::ids::{FeatureLevel, META_SHARD, META_TABLE, NodeDuty, NodeId, NodeInfo};

/// Newest version of the map's encoding on disk and on the wire; a node refuses any other than this and [`PLAIN`].
pub(super) const VERSION: u8 = 3;
/// Version of a map without duties and chosen owners, which builds of feature level 1 read.
const PLAIN: u8 = 2;
/// The tables with which a map of [`VERSION`] ends, both empty. A map of [`PLAIN`] ends before them.
const EMPTY_TABLES: [u8; 2] = [0, 0];
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
    pub(super) next_node: u64,
    /// Join tickets of the members, so that a repeated join request gets the same id.
    pub(super) tickets: BTreeMap<u64, NodeId>,
    /// Duties of the members that do not simply hold replicas.
    pub(super) duties: BTreeMap<NodeId, NodeDuty>,
    /// Owners chosen by operators, by the number of the shard.
    pub(super) pinned: BTreeMap<u16, NodeId>,
}

/// Replica set of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// Members that hold a replica or shall hold one.
    pub replicas: Vec<NodeId>,
    /// Replica that leads the group in normal operation.
    pub preferred: NodeId,
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

    /// Writes the map to the rows of the meta group.
    pub(crate) fn save(&self, transaction: &mut Transaction) {
        transaction.put(META_TABLE, KEY, &self.encode());
    }

    pub(crate) fn encode(&self) -> Bytes {
        let encoded = postcard::to_extend(self, vec![VERSION]);
        let mut encoded = encoded.expect("a map is plain data, which postcard always writes");
        if self.duties.is_empty() && self.pinned.is_empty() {
            encoded[0] = PLAIN;
            encoded.truncate(encoded.len() - EMPTY_TABLES.len());
        }
        Bytes::from(encoded)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ClusterMap, Error> {
        let corrupt = |reason: String| Error::Corrupt {
            what: "cluster map",
            reason,
        };
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| corrupt(e.to_string())),
            Some((&PLAIN, rest)) => {
                let whole = [rest, &EMPTY_TABLES[..]].concat();
                postcard::from_bytes(&whole).map_err(|e| corrupt(e.to_string()))
            }
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
            MapChange::Join { supported_level, .. }
            | MapChange::JoinAs { supported_level, .. }
            | MapChange::Move { supported_level, .. }
                if supported_level < self.level =>
            {
                return MapChangeResult::BelowLevel { level: self.level };
            }
            MapChange::Join {
                ticket,
                addr,
                zone,
                supported_level,
            } => {
                let info = joining(addr, zone, supported_level);
                return self.join(ticket, info, NodeDuty::Replicas);
            }
            MapChange::JoinAs {
                ticket,
                addr,
                zone,
                supported_level,
                duty,
            } => {
                let info = joining(addr, zone, supported_level);
                return self.join(ticket, info, duty);
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
            MapChange::Remove { node } => {
                if let Err(reason) = self.remove(node) {
                    return refused(reason);
                }
            }
            MapChange::SetDuty { node, duty } => {
                if let Err(reason) = self.set_duty(node, duty) {
                    return refused(reason);
                }
            }
            MapChange::Pin { shard, node } => {
                if let Err(reason) = self.pin(shard, node) {
                    return refused(reason);
                }
            }
            MapChange::Unpin => self.unpin(),
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
                self.release_unplaced();
            }
        }
        self.version += 1;
        MapChangeResult::Done {
            version: self.version,
        }
    }
}

/// Returns a node that is to be admitted, without its number.
fn joining(addr: String, zone: String, supported_level: FeatureLevel) -> NodeInfo {
    NodeInfo {
        id: NodeId::default(),
        addr,
        zone,
        supported_level,
    }
}

#[cfg(test)]
mod tests;
