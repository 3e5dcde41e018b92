//! Interface that the node layer implements for the cluster, and the types passed to it.

use bytes::Bytes;
use storage::ShardId;

use crate::ids::NodeId;
use crate::shard::Proposer;
use crate::transport::{ConnectionState, Responder};

/// Callbacks of the node layer. The cluster calls every method from its own threads, so none may block.
pub trait Service: Send + Sync + 'static {
    /// Reports that this node owns the shard from now on. All entries committed before the takeover are applied.
    fn activated(&self, owned: OwnedShard);

    /// Reports that the epoch is over: every actor of the shard must be dropped. Not called for epochs that were never
    /// activated.
    fn deactivated(&self, shard: ShardId, epoch: u64);

    /// Handles a request of another node or of this one. Requests of one peer come in the order of arrival.
    fn call(&self, from: NodeId, method: u16, body: Bytes, reply: Responder);

    /// Handles a one-way message. Messages are ordered within one `link`, the incarnation of the incoming connection.
    fn cast(&self, from: NodeId, link: u64, kind: u16, body: Bytes);

    /// Reports that the fan-out connection to a peer is up (with a new incarnation) or down. Undelivered casts to the
    /// peer are lost.
    fn link(&self, peer: NodeId, state: ConnectionState);

    /// Reports that the fan-out connection from a peer is up, before the first [`cast`](Self::cast) of that
    /// incarnation, or down, after the last one. Casts of the peer may be lost; the receiver can register again without
    /// waiting for a timeout.
    fn incoming(&self, peer: NodeId, state: ConnectionState) {
        let _ = (peer, state);
    }
}

/// Permission to propose to a shard until its epoch ends.
#[derive(Debug)]
pub struct OwnedShard {
    pub shard: ShardId,
    /// Log index of the takeover that began the epoch.
    pub epoch: u64,
    pub proposer: Proposer,
}
