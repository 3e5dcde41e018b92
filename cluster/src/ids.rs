//! Ids of nodes and of the meta group, shard owners, routes, and the status that `GET /v1/cluster` returns.

use std::fmt;

use serde::{Deserialize, Serialize};
use storage::{ShardId, TableId};

/// Table of the meta group, which holds the cluster map. It belongs to the catalogue of every member's store.
/// Its number is the highest one, so that a catalogue can grow below it.
pub const META_TABLE: TableId = TableId::new(31, "meta");

/// Id of a member. The meta group assigns ids in order, from 1, and never assigns one twice. 0 means no node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

/// Id of the meta group, an ordinary Raft group whose state is the [cluster map](crate::shard::ClusterMap).
pub(crate) const META_SHARD: ShardId = ShardId(u16::MAX);

/// Owner of a shard after an untimely batch deposed the last one: see [`raft`](crate::raft).
pub(crate) const UNOWNED: NodeId = NodeId(0);

/// Replicated record of a shard's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardOwner {
    pub(crate) node: NodeId,
    /// Incarnation of the owning process, different at each start.
    pub(crate) incarnation: u64,
    /// Log index of the takeover. Zero: the shard never had an owner.
    pub(crate) epoch: u64,
    /// Raft term of the takeover. The ownership ends with the leadership in that term.
    pub(crate) term: u64,
}

/// Position of a shard's rows in its log, as archives name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPosition {
    /// Index of the last applied entry; from 1.
    pub index: u64,
    /// Raft term of that entry.
    pub term: u64,
    /// Highest feature level of the batches up to that entry.
    pub level: FeatureLevel,
    /// Digest of the effects of all entries up to that entry.
    pub digest: u128,
}

/// Version of the replicated formats and rules.
///
/// The cluster map holds the level of the cluster. It rises when every member supports a higher one and never falls.
/// Every batch carries the level under which it was proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeatureLevel(pub u32);

/// Route to one shard as known to this node. Soft state: only the replicated [`ShardOwner`] is authoritative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Owner of the newest epoch learned so far; `None` until one is learned.
    pub owner: Option<NodeId>,
    /// Log index of that owner's takeover; 0 while `owner` is `None`.
    pub epoch: u64,
    /// Nodes to which the cluster map assigns a replica; some may still be copying it.
    pub replicas: Vec<NodeId>,
    /// Version of the cluster map that `replicas` comes from.
    pub map_version: u64,
}

/// Entry of a member in the cluster map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub id: NodeId,
    /// Address of the member for other nodes, `host:port`.
    pub addr: String,
    /// Failure domain: the placement keeps two replicas of a shard out of one zone where it can. Empty: a domain of its
    /// own.
    pub zone: String,
    /// Highest feature level that the member's build supports.
    pub supported_level: FeatureLevel,
}

/// Duty of a member, beside admitting clients, which each does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeDuty {
    /// Holds the replicas that the placement assigns to it.
    #[default]
    Replicas,
    /// Holds none: it only routes.
    Gateway,
    /// Gives its replicas to others, and is removed once it has none.
    #[serde(rename = "leaving")]
    Leave,
}

/// State of the cluster as one node sees it: the response of `GET /v1/cluster`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Id of the responding node.
    pub node: NodeId,
    /// Cluster id, as 16 hexadecimal digits.
    pub cluster: String,
    /// Version of the cluster map.
    pub map_version: u64,
    /// Feature level of the cluster.
    pub feature_level: FeatureLevel,
    pub nodes: Vec<NodeStatus>,
    /// Shards in the order of their numbers, without the meta group.
    pub shards: Vec<ShardStatus>,
    /// Meta group, which holds the cluster map; its number is 65535.
    pub meta: ShardStatus,
    /// `fsync` if acknowledged writes have been synced, `os` if they were only handed to the operating system.
    pub durability: &'static str,
}

/// One member in a [`Status`].
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub id: NodeId,
    /// Address of the member for other nodes, `host:port`.
    pub addr: String,
    /// Highest feature level that the member's build supports, according to the map.
    pub supported_level: FeatureLevel,
    /// True for the responding node itself, and while its rpc connection to the member is up.
    pub alive: bool,
    /// True while the member transfers its shards to others in order to stop.
    pub draining: bool,
    /// Milliseconds by which the member's clock is ahead of the majority's; negative: behind. `None`: unknown.
    pub clock_skew_ms: Option<i64>,
    /// True while the member owns no shards because its clock is too far from the majority's.
    pub clock_wrong: bool,
    /// `replicas`, `gateway` for a member that holds none, or `leaving`.
    pub duty: NodeDuty,
}

/// One shard in a [`Status`].
#[derive(Clone, Debug, Serialize)]
pub struct ShardStatus {
    pub shard: u16,
    /// Owner of the newest epoch known to this node; `None` until one is learned.
    pub owner: Option<NodeId>,
    /// Epoch of that owner; 0 while `owner` is `None`.
    pub epoch: u64,
    /// Nodes to which the cluster map assigns a replica.
    pub replicas: Vec<NodeId>,
    /// Replica that leads the group in normal operation; `None` if the map does not contain the shard.
    pub preferred: Option<NodeId>,
    /// Status of the replica on this node; `None` if the node has none.
    pub local: Option<GroupStatus>,
}

/// Status of a local replica in a [`ShardStatus`].
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// `leader`, `follower`, `learner`, `candidate`, `shutdown` or `failed`.
    pub role: &'static str,
    /// Entry before which a `failed` replica stopped, because this build cannot decode it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub term: u64,
    /// Index of the last entry in the log; 0 for an empty log.
    pub last: u64,
    /// Index of the last entry applied; 0 if none is.
    pub applied: u64,
    /// Digest of the effects of all entries up to `applied`, as 32 hexadecimal digits. Replicas with equal `applied`
    /// and different digests have diverged.
    pub digest: String,
    /// Voters of the newest membership in the log, committed or not.
    pub voters: Vec<NodeId>,
    /// On the leader: number of entries that each other replica is behind. Empty elsewhere.
    pub lag: Vec<(NodeId, u64)>,
}

/// Comparison of all rows of a shard's replicas at one index of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaComparison {
    /// The shard; 65535 is the meta group.
    pub shard: u16,
    /// Index of the log at which the replicas were compared.
    pub index: u64,
    /// True if more than half of the replicas are equal.
    pub has_majority: bool,
    pub replicas: Vec<ComparedReplica>,
}

/// One replica in a [`ReplicaComparison`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedReplica {
    pub node: NodeId,
    /// Number of rows; `None` if the replica could not be read.
    pub rows: Option<u64>,
    /// Sum of the digests of all rows, as 32 hexadecimal digits.
    pub digest: Option<String>,
    /// Digest of the effects of all entries up to the index, as in the status.
    pub log_digest: Option<String>,
    /// Reason for which the replica was not compared: a damaged row, or no answer.
    pub failure: Option<String>,
    /// True if more than half of the replicas are equal, and this one differs from them or has a damaged row.
    pub differs: bool,
}

// === impl ReplicaComparison, ComparedReplica ===

impl ReplicaComparison {
    /// Checks that the replica of a node may be deleted: it differs, and enough of the others are equal and answer to be a
    /// majority of those that remain.
    ///
    /// # Errors
    /// The reason for which it may not.
    pub fn permits_rebuild(&self, node: NodeId) -> Result<(), String> {
        let replica = self.replicas.iter().find(|replica| replica.node == node);
        let replica = replica.ok_or_else(|| format!("node {node} has no replica of the shard"))?;
        if !self.has_majority {
            return Err(
                "no majority of the replicas is equal, so nobody knows which one is right".to_owned(),
            );
        }
        if !replica.differs {
            return Err(match &replica.failure {
                Some(failure) => format!("the replica of node {node} was not compared: {failure}"),
                None => format!("the replica of node {node} does not differ"),
            });
        }
        // More than half of all, so more than half of the others, too.
        let equal = self
            .replicas
            .iter()
            .filter(|one| !one.differs && one.rows.is_some());
        match equal.count() {
            0 | 1 => Err("the last copies are not deleted".to_owned()),
            _ => Ok(()),
        }
    }
}

impl ComparedReplica {
    /// Returns the entry of a replica of which nothing is known.
    pub(crate) fn silent(node: NodeId) -> ComparedReplica {
        ComparedReplica {
            node,
            rows: None,
            digest: None,
            log_digest: None,
            failure: None,
            differs: false,
        }
    }
}

// === impl FeatureLevel ===

impl FeatureLevel {
    /// Highest level that this build supports.
    pub const SUPPORTED: FeatureLevel = FeatureLevel(2);
}

// === impl NodeDuty ===

impl NodeDuty {
    /// Returns the duty in one word, as [`NodeStatus`] shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NodeDuty::Replicas => "replicas",
            NodeDuty::Gateway => "gateway",
            NodeDuty::Leave => "leaving",
        }
    }
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the shard's name for logs and errors: its number, or `meta`.
pub(crate) fn shard_name(shard: ShardId) -> String {
    if shard == META_SHARD {
        "meta".to_owned()
    } else {
        shard.0.to_string()
    }
}
