//! Transport of requests and one-way messages between the nodes of a cluster.
//!
//! Spine: step 8 of 13. Previous: `cluster: raft/network`. Next: `cluster: raft/state_machine`.
//!
//! Queues: an outgoing queue per peer and class, bounded in bytes (`QueueLimits`), and a response queue per incoming
//! connection with the same bound. A full outgoing queue refuses with [`Error::Full`]. A full response queue stops
//! reading. Metrics: `transport_class_bytes`, `transport_full`.
//!
//! [`crate::raft`] and the node layer send through a [`Transport`]; received requests are passed to a [`Handler`].
//! Between two nodes there is one connection per [`ConnectionClass`] and direction, so that a snapshot never delays a
//! heartbeat. The dialling side sends requests on a connection, the other side sends responses.
//!
//! ```text
//!   node 1                                                     node 2
//!   call/cast ─▶ outgoing queue ─▶ writer ═══ connection ═══▶ reader ─▶ Handler
//!                pending calls ◀── reader ◀══════════════════ writer ◀─ Responder
//! ```
//!
//! Guarantees to a caller:
//!
//! * Per destination and class, requests arrive in the order of [`Transport::call`] and [`Transport::cast`], and none
//!   arrives twice. A broken connection loses a suffix of what was sent on it; the next connection has a new
//!   incarnation.
//! * A call returns once. Its [`Error`] states if the request may have been handled.
//! * Each queue holds a bounded number of bytes; beyond the bound the caller gets [`Error::Full`] immediately.
//!
//! A connection is authenticated when it is made (`handshake`). With certificates it is encrypted (`tls`); without, use a
//! private network.

mod config;

// Sending side: the endpoint, its queues and the connections that send from them.
mod endpoint;
mod outgoing_queue;
mod peer;

// Both sides: frames, the handshake and the loops of a connection.
mod connection;
mod frame;
mod handshake;
mod handshake_messages;

// Receiving side.
mod listener;
mod response_queue;
mod running_transport;

// Network access, real or simulated.
mod io;
mod sim;
mod tcp;
mod tls;

mod metrics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::ids::{FeatureLevel, NodeId};

pub use config::{ClusterSecret, QueueLimits, TransportConfig};
pub use metrics::Metrics;
pub use response_queue::Responder;
pub use sim::{LinkConditions, SimNetworkHandle, SimTransport};
pub use tcp::{BindError, TcpTransport};
pub use tls::{CertificateError, NodeCertificates, PeerTls, certificate_name};

/// Sender of requests to other nodes.
///
/// Every method returns immediately; only the returned futures wait.
pub trait Transport: Send + Sync + 'static {
    /// Starts listening and dialling as `me`. A second call with another identity (a node that joined a cluster) closes
    /// every connection and makes new ones under the new identity.
    fn start(&self, me: NodeIdentity, handler: Arc<dyn Handler>);

    /// Replaces the set of dialled peers. The node's own id in the list is ignored.
    fn set_peers(&self, peers: Vec<(NodeId, String)>);

    /// Enqueues a request, in call order within its class, before it returns; the future resolves with the response.
    ///
    /// Dropping the future withdraws a request that was not written yet; a message without a response is sent by
    /// [`cast`](Transport::cast). `deadline` counts from this call.
    fn call(
        &self,
        to: NodeId,
        class: ConnectionClass,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// Enqueues a one-way message, in call order within its class. `Ok` does not promise its arrival: a loss shows as a
    /// new incarnation of the connection on either side.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Full`] or [`Error::Closed`]: the message was certainly not sent.
    fn cast(&self, to: NodeId, class: ConnectionClass, method: u16, body: Bytes) -> Result<(), Error>;

    /// Makes one call on a connection of its own to an address whose node id is unknown, such as a join request. Works
    /// before [`start`](Transport::start), as node 0 of cluster 0. The other side receives it as [`Handler::call`] of
    /// class [`ConnectionClass::Rpc`].
    fn call_addr(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// Writes the queued frames within a bounded time, closes every connection and waits for the tasks. Later calls
    /// return [`Error::Closed`]; the handler is dropped.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// Callbacks of a node. They run on the connection's own task, in the order of arrival, and must not block: a slow
/// handler delays its connection, and after `peer_timeout` the peer closes it.
pub trait Handler: Send + Sync + 'static {
    /// Handles a request that expects a response. `from` is authenticated; it is `NodeId(0)` for a node that has no id
    /// yet and is asking to join.
    fn call(&self, from: NodeId, class: ConnectionClass, method: u16, body: Bytes, reply: Responder);

    /// Handles a one-way message. `link` is the incarnation of the incoming connection: after a change, messages
    /// between this one and the previous one may be missing.
    fn cast(&self, from: NodeId, link: u64, class: ConnectionClass, method: u16, body: Bytes);

    /// Reports that an outgoing connection to `peer` is up (calls and casts are accepted from now on) or down (they
    /// return [`Error::Unreachable`]). `Up` and `Down` alternate per peer and class.
    fn link(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState);

    /// Reports that an incoming connection from `peer` is up or down: `Up` before its first request, `Down` after its
    /// last, and `Up` of a new connection after `Down` of the old one. The incarnation is that of
    /// [`cast`](Handler::cast).
    fn incoming(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        let _ = (peer, class, state);
    }

    /// Decides if a peer may have connections, in either direction. Called in each handshake.
    fn admission(&self, peer: NodeIdentity) -> PeerAdmission {
        let _ = peer;
        PeerAdmission::Admitted
    }

    /// Returns true if a peer was removed for good. Called for each incoming connection whenever the peers change; the
    /// connections of a removed peer are closed.
    fn is_removed(&self, peer: NodeId) -> bool {
        let _ = peer;
        false
    }

    /// Reports that the peer `by` refused this node's handshake with `verdict`, after it had proven the secret.
    fn refused(&self, by: NodeId, verdict: PeerAdmission) {
        let _ = (by, verdict);
    }
}

/// Decision about a peer that requests a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerAdmission {
    /// The peer may have connections.
    Admitted,
    /// The peer's disk is an older copy of itself.
    OlderDisk,
    /// The peer was removed from the cluster.
    Removed,
    /// The peer's build does not support the feature level of the cluster.
    BelowLevel,
}

/// Kind of traffic with a connection of its own, in each direction between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ConnectionClass {
    /// Raft votes, appends and heartbeats.
    Raft = 1,
    /// Requests and responses between nodes.
    Rpc = 2,
    /// Events for nodes with subscribers.
    Fanout = 3,
    /// Shard snapshots in chunks.
    Snapshot = 4,
}

/// Identity of a node towards its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// Id of the node; 0 while it has none.
    pub node: NodeId,
    /// Id of its cluster; 0 while it belongs to none. Nodes of another cluster are refused.
    pub cluster: u64,
    /// Number that differs at each process start.
    pub incarnation: u64,
    /// Highest feature level that the node's build supports.
    pub supported_level: FeatureLevel,
}

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionState {
    /// Established, with this random incarnation, which is the same at both ends.
    Up(u64),
    /// Closed; everything in flight on it is lost.
    Down,
}

/// Reason for which a request has no response, by the caller's next action.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Certainly not sent: wait and retry, here or at another node.
    #[error("peer unreachable, the request was not sent")]
    Unreachable,
    /// Sent, then the connection broke or the handler dropped the call. The outcome is unknown, so retry only
    /// idempotent requests.
    #[error("connection lost after the request was sent, the outcome is unknown")]
    Lost,
    /// Sent, but no response came in time: the outcome is unknown.
    #[error("no response in time, the outcome is unknown")]
    Timeout,
    /// The queue's bound in bytes is reached, or the body exceeds the largest frame. Certainly not sent: shed load.
    #[error("outgoing queue full, the request was not sent")]
    Full,
    /// The other side's handler processed the request and responded with this error.
    #[error("refused by the peer")]
    Refused(Bytes),
    /// This transport was shut down or not started; certainly not sent.
    #[error("transport closed")]
    Closed,
}

// === impl ConnectionClass ===

impl ConnectionClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [ConnectionClass; 4] = [
        ConnectionClass::Raft,
        ConnectionClass::Rpc,
        ConnectionClass::Fanout,
        ConnectionClass::Snapshot,
    ];

    /// Returns the class's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionClass::Raft => "raft",
            ConnectionClass::Rpc => "rpc",
            ConnectionClass::Fanout => "fanout",
            ConnectionClass::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for ConnectionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
