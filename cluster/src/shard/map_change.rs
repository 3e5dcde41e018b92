//! Changes of the cluster map, as they stand in the log of the meta group, and their results.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cluster_map::{Placement, VERSION};
use crate::error::Error;
use crate::ids::{FeatureLevel, NodeDuty, NodeId};
use crate::state_machine::UndecodableCommand;

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
    /// Adds a member with a duty. The same ticket gets the same id.
    JoinAs {
        ticket: u64,
        addr: String,
        zone: String,
        supported_level: FeatureLevel,
        duty: NodeDuty,
    },
    /// Changes the duty of a member. Refused if no other member could hold replicas.
    SetDuty { node: NodeId, duty: NodeDuty },
    /// Lets a replica lead its group, in the place of the one that the placement prefers.
    Pin {
        /// Number of the shard; 65535 for the meta group.
        shard: u16,
        node: NodeId,
    },
    /// Ends every [`Pin`](MapChange::Pin), so that the placement prefers the replicas again.
    Unpin,
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

// === impl MapChange ===

impl MapChange {
    /// Returns the feature level from which members decode the change: it is proposed under no lower one.
    pub(crate) fn first_level(&self) -> FeatureLevel {
        match self {
            MapChange::JoinAs { .. }
            | MapChange::SetDuty { .. }
            | MapChange::Pin { .. }
            | MapChange::Unpin => FeatureLevel(2),
            _ => FeatureLevel(1),
        }
    }

    /// Returns whether a node that is no member may ask for the change.
    pub(crate) fn is_join(&self) -> bool {
        match self {
            MapChange::Join { .. } => true,
            MapChange::JoinAs { duty, .. } => *duty != NodeDuty::Leave,
            _ => false,
        }
    }

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

// === impl MapChangeResult ===

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
