//! The words of this crate: node ids, routes, and the status that an operator reads.

use std::fmt;

use serde::{Deserialize, Serialize};
use storage::ShardId;

/// A member of the cluster. Given out by the meta group, counted up from 1, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

/// What this node believes about one shard. Soft: only the replicated [owner](crate::ownership) decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The owner of the newest epoch heard of; `None` until one was.
    pub owner: Option<NodeId>,
    /// Log index of the takeover that made it the owner.
    pub epoch: u64,
    /// The nodes that hold (or are about to hold) a replica.
    pub replicas: Vec<NodeId>,
    /// Version of the map that `replicas` come from.
    pub map_version: u64,
}

/// A member, as the map has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub addr: String,
    /// Failure domain: two replicas of a shard avoid the same one. Empty: a domain of its own.
    pub zone: String,
}

/// The state of the cluster as one node sees it: the answer of `GET /v1/cluster`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The node that answers.
    pub node: NodeId,
    /// Identity of the cluster, as hexadecimal digits.
    pub cluster: String,
    /// Version of the map.
    pub map_version: u64,
    /// Every member.
    pub nodes: Vec<NodeStatus>,
    /// Every shard, by number.
    pub shards: Vec<ShardStatus>,
    /// The meta group, which holds the map; its number is 65535.
    pub meta: ShardStatus,
    /// Whether an acknowledged write has been fsynced (`fsync`) or only handed to the system (`os`).
    pub durability: &'static str,
}

/// One member in a [`Status`].
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Its address between nodes.
    pub addr: String,
    /// Whether this node has a live link to it.
    pub alive: bool,
    /// Whether it is handing over its shards in order to stop.
    pub draining: bool,
    /// How far its clock is ahead of what a majority's clocks have reached; negative: behind.
    pub clock_skew_ms: Option<i64>,
    /// Whether it therefore owns nothing.
    pub clock_wrong: bool,
}

/// One shard in a [`Status`].
#[derive(Clone, Debug, Serialize)]
pub struct ShardStatus {
    /// The shard's number.
    pub shard: u16,
    /// The owner heard of last.
    pub owner: Option<NodeId>,
    /// Its epoch.
    pub epoch: u64,
    /// Nodes that the map gives the shard to.
    pub replicas: Vec<NodeId>,
    /// Who should lead when all is well.
    pub preferred: Option<NodeId>,
    /// This node's replica, if it has one.
    pub local: Option<GroupStatus>,
}

/// A local replica in a [`ShardStatus`].
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// `leader`, `follower`, `learner`, `candidate` or `shutdown`.
    pub role: &'static str,
    /// Raft term.
    pub term: u64,
    /// Index of the last entry in the log.
    pub last: u64,
    /// Index of the last entry applied.
    pub applied: u64,
    /// Of what applying all entries up to that very index did, as 32 hexadecimal digits. Replicas with the same `applied`
    /// have the same one, or they differ.
    pub digest: String,
    /// Nodes that vote in the group now.
    pub voters: Vec<NodeId>,
    /// On the leader: for each other replica, how many entries it is behind.
    pub lag: Vec<(NodeId, u64)>,
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a shard as people write it.
pub(crate) fn shard_name(shard: ShardId) -> String {
    if shard == crate::shard::META {
        "meta".to_owned()
    } else {
        shard.0.to_string()
    }
}
