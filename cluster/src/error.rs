//! Errors of a cluster member; each variant states the caller's next action.

use bytes::Bytes;

use crate::ids::{FeatureLevel, NodeId};

/// Error of starting, joining or stopping a member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    /// A Raft group could not start.
    #[error("raft group {shard}: {reason}")]
    Raft {
        shard: String,
        /// Error text of openraft.
        reason: String,
    },
    /// A record on disk or from another node could not be decoded.
    #[error("corrupt {what}: {reason}")]
    Corrupt { what: &'static str, reason: String },
    /// The data directory is new and the configuration names no seeds.
    #[error(
        "the data directory is new: set cluster.seeds to the addresses of the first nodes for each other, the same on all nodes"
    )]
    NoSeeds,
    /// This node is the first seed, and another seed did not answer before the deadline whether it belongs to a cluster.
    #[error(
        "a new cluster starts once every seed has answered, and {silent:?} did not within {waited_s} s: start them, or take them out of cluster.seeds"
    )]
    SilentSeeds { silent: Vec<String>, waited_s: u64 },
    /// No node of `cluster.seeds` admitted this one before the deadline.
    #[error("could not join through any of {peers:?} within {waited_s} s: {last}")]
    JoinFailed {
        peers: Vec<String>,
        waited_s: u64,
        /// Reason of the last failed attempt.
        last: String,
    },
    /// An operator removed the node that this data directory belongs to; its id is never assigned again.
    #[error(
        "node {node} was removed from its cluster and is not admitted again: empty the data directory (or choose a new one) and start again to join under a new number"
    )]
    Removed { node: NodeId },
    /// An operator let the node that this data directory belongs to leave; its id is never assigned again.
    #[error(
        "node {node} has left its cluster, which holds all of its data elsewhere: to join again under a new number, empty the data directory (or choose a new one) and start again; otherwise take the service out of operation"
    )]
    HasLeft { node: NodeId },
    /// The node that is to start a cluster is configured to hold no replicas.
    #[error(
        "the first node of a cluster holds its data: unset cluster.gateway_only, or name another node first in cluster.seeds"
    )]
    FirstIsGateway,
    /// This node cannot become the only member of its cluster.
    #[error("recovery from a lost majority refused, nothing was changed: {reason}")]
    RecoveryRefused { reason: String },
    /// The cluster has passed the feature levels that this build supports.
    #[error(
        "this build supports feature level {supported}, the cluster requires {required}: start a newer build"
    )]
    BelowLevel {
        supported: FeatureLevel,
        required: FeatureLevel,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// This node does not own the shard, or not under the given epoch: send the request to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node does not own the shard")]
pub struct NotOwner;

/// Reason for which a batch has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not applied, because the epoch is over. Send the batch to the new owner.
    #[error("this node is no longer the owner; the batch was not applied")]
    NotOwner,
    /// Applied or not: unknown here. Send the batch again with the same client message ids.
    #[error("the outcome is unknown")]
    Unknown,
    /// The disk is full; certainly not applied. Try again later.
    #[error("the disk is full; the batch was not applied")]
    NoRoom,
    /// The majority's time is unknown here, because too few clocks were reported; certainly not applied. Try again
    /// soon.
    #[error("too few clock samples; the batch was not applied")]
    NoTime,
    /// The node is stopping; certainly not applied.
    #[error("the node is stopping")]
    Stopped,
}

/// Reason for which a request to another node has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other node handled the request and refused it; the bytes carry its reason.
    #[error("refused by the peer")]
    Refused(Bytes),
    /// Certainly not handled: try another node, or this one later.
    #[error("unreachable")]
    Unreachable,
    /// Handled or not: unknown, because the connection broke or the deadline passed.
    #[error("no response; the outcome is unknown")]
    Lost,
    /// The queue to that node is full, and the request was not sent.
    #[error("the outgoing queue is full")]
    Busy,
}

/// Reason for which a one-way message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    /// There is no connection to that node.
    #[error("unreachable")]
    Unreachable,
    /// The queue's bound in bytes is reached: drop the message; the receiver detects the gap and registers again.
    #[error("the outgoing queue is full")]
    Full,
}
