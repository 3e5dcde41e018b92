//! Errors, each named by what the caller does next.

use bytes::Bytes;

use crate::types::NodeId;

/// Why a node could not start, join or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    /// A Raft group could not start.
    #[error("raft group {shard}: {reason}")]
    Raft {
        /// The group.
        shard: String,
        /// What openraft said.
        reason: String,
    },
    /// A record on disk or from another node could not be read.
    #[error("corrupt {what}: {reason}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// The data directory is new and the configuration says neither to bootstrap nor whom to join.
    #[error(
        "the data directory is new: set cluster.bootstrap = true on the first node, or cluster.join on the others"
    )]
    NoCluster,
    /// No node of `cluster.join` let this one in before the deadline.
    #[error("could not join through any of {peers:?} within {waited_s} s: {last}")]
    JoinFailed {
        /// The addresses tried.
        peers: Vec<String>,
        /// How long.
        waited_s: u64,
        /// The last refusal.
        last: String,
    },
    /// An operator removed the node that this data directory belongs to; its number is never given out again.
    #[error(
        "node {node} was removed from its cluster and is not admitted again: empty the data directory (or choose a new one) and start again to join under a new number"
    )]
    Removed {
        /// Its number.
        node: NodeId,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// A submission that found the shard's queue full, given back.
#[derive(Debug)]
pub struct Full(pub Vec<Bytes>);

/// This node doesn't own the shard, or not under the epoch named: ask the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node does not own the shard")]
pub struct NotOwner;

/// Why a batch has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not applied: the epoch is over. Send it to the new owner.
    #[error("not the owner any more; certainly not applied")]
    NotOwner,
    /// Applied or not, nobody can say here: send it again, with the same client ids.
    #[error("the outcome is not known")]
    Unknown,
    /// The disk is full; certainly not applied. Try again later.
    #[error("the disk is full; certainly not applied")]
    NoRoom,
    /// This node can't tell what time it is, having heard of too few of the others' clocks; certainly not applied. Try
    /// again soon.
    #[error("too few clocks are known; certainly not applied")]
    NoTime,
    /// The node stops; certainly not applied.
    #[error("the node is stopping")]
    Stopped,
}

/// Why a request to another node has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other node handled it and refused; its bytes say why.
    #[error("refused by the other node")]
    Refused(Bytes),
    /// Certainly not handled: try another node, or again later.
    #[error("unreachable")]
    Unreachable,
    /// Handled or not, nobody can say: the link broke or the deadline passed.
    #[error("no answer; the outcome is not known")]
    Lost,
    /// The lane to that node is full, and the request was not sent.
    #[error("the lane is full")]
    Busy,
}

/// Why a one-way message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    /// No link to that node.
    #[error("unreachable")]
    Unreachable,
    /// The lane's bound in bytes is reached: drop, and let the receiver register again.
    #[error("the lane is full")]
    Full,
}
