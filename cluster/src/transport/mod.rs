//! Step 8: what the nodes of a cluster say to each other, and how it gets there.
//!
//! [`crate::raft`] (steps 6 and 9) and the node layer speak through a [`Transport`]; what arrives is handed to a
//! [`Handler`]. Between two nodes there are four lanes in each direction, each a connection of its own, so that a
//! snapshot never delays a heartbeat. The side that dialled a connection asks on it, the other side answers on it.
//!
//! ```text
//!   node 1                                                     node 2
//!   call/cast ─▶ outgoing lane ─▶ writer ═══ connection ═══▶ reader ─▶ Handler
//!                pending calls ◀─ reader ◀══════════════════ writer ◀─ Reply
//! ```
//!
//! What a caller may rely on:
//!
//! * Per destination and lane, requests arrive in the order of [`Transport::call`] and [`Transport::cast`], and none
//!   arrives twice. What a broken link loses is a suffix of what was sent on it: the next link has a new incarnation.
//! * A call answers once. [`Error`] says whether the request may have been handled.
//! * Each lane holds a bounded number of bytes; over the bound the caller is told [`Error::Full`] at once.
//!
//! A link is authenticated when it is made (`handshake`), not encrypted afterwards: run it on a private network.

mod config;

// At the sender: a node's end, its lanes, the links that serve them.
mod endpoint;
mod lane;
mod peer;

// On the connection.
mod frame;
mod handshake;
mod hello;
mod wire;

// At the receiver.
mod answers;
mod listener;
mod reply;
mod session;

// The network itself, real or simulated.
mod door;
mod memory;
mod tcp;

mod metrics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::types::NodeId;

pub use config::{LaneBounds, Secret, TransportConfig};
pub use memory::{MemoryNetwork, MemoryTransport, Weather};
pub use metrics::Metrics;
pub use reply::Reply;
pub use tcp::{BindError, TcpTransport};

/// The way requests leave a node and answers come back.
///
/// Every method returns at once; only the returned futures wait.
pub trait Transport: Send + Sync + 'static {
    /// Begins listening and dialling as `me`. Called again with another identity (a node that joined a cluster), it
    /// breaks every link and makes new ones under the new identity.
    fn start(&self, me: Identity, handler: Arc<dyn Handler>);

    /// Dials these peers from now on and forgets all others. The node's own id in the list is ignored.
    fn set_peers(&self, peers: Vec<(NodeId, String)>);

    /// Enqueues a request, in call order on its lane, before it returns; the future resolves with the answer.
    ///
    /// Dropping the future withdraws a request that was not written yet: for fire and forget there is
    /// [`cast`](Transport::cast). `deadline` counts from this call.
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// Enqueues a one-way message, in call order on its lane. `Ok` promises nothing about its arrival; what a link
    /// loses shows as another link incarnation on either side.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Full`] or [`Error::Closed`]: it was certainly not sent.
    fn cast(&self, to: NodeId, lane: Lane, method: u16, body: Bytes) -> Result<(), Error>;

    /// Makes one call on a connection of its own to an address whose node id is not known yet: how a node asks to
    /// join. It works before [`start`](Transport::start) (as node 0 of cluster 0) and reaches the other side's
    /// [`Handler::call`] on [`Lane::Rpc`].
    fn call_addr(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// Writes what is queued (for a short, bounded time), closes every link and waits for the tasks. Later calls
    /// answer [`Error::Closed`]; the handler is dropped.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// The ears of a node. Invoked on the connection's own task, in arrival order, so it must not block: a slow handler
/// delays its lane, and after `silence` the peer takes the link for dead.
pub trait Handler: Send + Sync + 'static {
    /// A request that wants an answer. `from` is authenticated; it is `NodeId(0)` for a node that is asking to join
    /// and has no id yet.
    fn call(&self, from: NodeId, lane: Lane, method: u16, body: Bytes, reply: Reply);

    /// A one-way message. `link` is the incarnation of the incoming link: a change of it means that messages may be
    /// missing between this one and the one before.
    fn cast(&self, from: NodeId, link: u64, lane: Lane, method: u16, body: Bytes);

    /// An outgoing link to `peer` came up (calls and casts are accepted from now) or broke (they answer
    /// [`Error::Unreachable`] from now). `Up` and `Down` alternate per peer and lane.
    fn link(&self, peer: NodeId, lane: Lane, state: LinkState);

    /// An incoming link from `peer` came up or broke: `Up` comes before the link's first request, `Down` after its
    /// last, and a new link's `Up` after the old one's `Down`. The incarnation is the one [`cast`](Handler::cast)
    /// names.
    fn incoming(&self, peer: NodeId, lane: Lane, state: LinkState) {
        let _ = (peer, lane, state);
    }

    /// Decides whether a peer may have links, in either direction. Asked in each handshake, with the incarnation of
    /// the peer's [`Identity`].
    fn admission(&self, peer: NodeId, incarnation: u64) -> Admission {
        let _ = (peer, incarnation);
        Admission::Admitted
    }

    /// Returns whether a peer was removed for good. Asked for each incoming link whenever the peers change; the links
    /// of a removed peer are closed.
    fn is_removed(&self, peer: NodeId) -> bool {
        let _ = peer;
        false
    }

    /// Reports that `by`, a peer that has proven the secret, refused this node's handshake with `verdict`.
    fn refused(&self, by: NodeId, verdict: Admission) {
        let _ = (by, verdict);
    }
}

/// A node's decision about a peer that asks for a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The peer may have links.
    Admitted,
    /// The peer's disk is an older copy of itself.
    OlderDisk,
    /// The peer was removed from the cluster.
    Removed,
}

/// One of the four connections in each direction between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Lane {
    /// Raft votes, appends and heartbeats.
    Raft = 1,
    /// Requests between nodes that want an answer.
    Rpc = 2,
    /// Events on their way to the nodes with listeners.
    Fanout = 3,
    /// Shard snapshots in chunks.
    Snapshot = 4,
}

/// Who a node is towards its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// This node; 0 while it has none.
    pub node: NodeId,
    /// The cluster it belongs to; 0 while it belongs to none. Nodes of another cluster are refused.
    pub cluster: u64,
    /// Another number at each process start.
    pub incarnation: u64,
}

/// Whether a link is usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Made anew, under this random incarnation, the same number at both ends.
    Up(u64),
    /// Broken; what was under way on it is lost.
    Down,
}

/// Why a request got no answer, by what the caller can do next.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Certainly not sent: back off and retry, here or elsewhere.
    #[error("peer unreachable, the request was not sent")]
    Unreachable,
    /// Sent, then the link broke or the handler gave no answer: the outcome is unknown, so retry only what is
    /// idempotent.
    #[error("link lost after the request was sent, the outcome is unknown")]
    Lost,
    /// Sent, and no answer came in time: the outcome is unknown.
    #[error("no answer in time, the outcome is unknown")]
    Timeout,
    /// The lane holds as many bytes as it may, or the body is larger than any frame may be. Certainly not sent: shed
    /// load.
    #[error("lane full, the request was not sent")]
    Full,
    /// Handled, and the other side's handler answered with this error.
    #[error("refused by the peer")]
    Refused(Bytes),
    /// This transport was shut down (or not started); certainly not sent.
    #[error("transport closed")]
    Closed,
}

// === impl Lane ===

impl Lane {
    /// All lanes, in the order of their numbers.
    pub const ALL: [Lane; 4] = [Lane::Raft, Lane::Rpc, Lane::Fanout, Lane::Snapshot];

    /// The lane's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Raft => "raft",
            Lane::Rpc => "rpc",
            Lane::Fanout => "fanout",
            Lane::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
