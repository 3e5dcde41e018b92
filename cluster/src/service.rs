//! What the node layer is told, and what it is given: the ears of a cluster member.

use bytes::Bytes;
use storage::ShardId;

use crate::shard::propose::Proposer;
use crate::types::NodeId;

pub use crate::transport::{LinkState, Reply};

/// The node layer's ears. Every method is called from the cluster's own threads and must not block.
pub trait Service: Send + Sync + 'static {
    /// This node owns the shard from now on. All entries committed before are applied.
    fn activated(&self, owned: Owned);

    /// The epoch is over: drop every actor of the shard. Not called for epochs that were never activated.
    fn deactivated(&self, shard: ShardId, epoch: u64);

    /// A request of another node (or of this one), in the order of arrival per peer.
    fn call(&self, from: NodeId, method: u16, body: Bytes, reply: Reply);

    /// A one-way message, in order within one `link` (the incarnation of the connection it came by).
    fn cast(&self, from: NodeId, link: u64, kind: u16, body: Bytes);

    /// The fan-out connection to a peer came up (with a new incarnation) or went down: casts to it that were not
    /// delivered are lost.
    fn link(&self, peer: NodeId, state: LinkState);

    /// The fan-out connection from a peer came up, before its first [`cast`](Self::cast) under that incarnation, or
    /// went down, after its last: casts of the peer may be lost. Who waits for them need not wait for silence to tell.
    fn incoming(&self, peer: NodeId, state: LinkState) {
        let _ = (peer, state);
    }
}

/// The right to propose to a shard until its epoch ends.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The shard.
    pub shard: ShardId,
    /// Log index of the takeover that gave the right.
    pub epoch: u64,
    /// Where commands go.
    pub proposer: Proposer,
}

/// A batch that a majority has on disk and that is applied here.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Log index of the entry.
    pub index: u64,
    /// One outcome per command, in order.
    pub outcomes: Vec<Bytes>,
}
