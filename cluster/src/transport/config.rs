//! Settings of the transport: bounds and times, each with its reason.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ConnectionClass;
use super::tls::PeerTls;

/// Settings of a node's transport. Peers may differ in all but the secret.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Listen address, `host:port`; port 0 lets the system choose. Unused in simulations.
    pub listen: String,
    /// Secret shared by all nodes of the cluster, with which a peer proves its membership in the handshake. May be
    /// empty only if `listen` is a loopback address.
    pub secret: ClusterSecret,
    /// Certificates with which connections are encrypted; `None`: none is. Unused in simulations.
    pub tls: Option<PeerTls>,
    /// Time limit of a TCP connect. An unresponsive peer costs this much per attempt.
    pub connect_timeout: Duration,
    /// Time limit of the handshake, that of TLS included. Bounds the resources of an unauthenticated connection.
    pub handshake_timeout: Duration,
    /// Idle time of a connection after which the peer is pinged.
    pub ping_every: Duration,
    /// Idle time of a connection after which it is closed. Must be several times `ping_every`.
    pub peer_timeout: Duration,
    /// First pause after a failed connection attempt; doubles up to `backoff_max`. Half of each pause is random.
    pub backoff_min: Duration,
    /// Longest pause between connection attempts. Bounds the delay until a returned peer is connected.
    pub backoff_max: Duration,
    /// Time limit of writing the queued frames in `shutdown`.
    pub flush: Duration,
    /// Largest body of a frame in bytes. A longer declared length closes the connection before anything is allocated.
    /// Must hold the largest append and the largest snapshot chunk.
    pub max_body: usize,
    /// Bounds of the outgoing queues, per peer.
    pub bounds: QueueLimits,
}

/// Bounds of the outgoing queues in bytes: frames not yet written and calls without a response. The same value bounds
/// the responses that wait on an incoming connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    /// Appends in flight to one follower.
    pub raft: usize,
    /// Requests in flight to one node. Beyond it the node counts as overloaded, and callers respond `busy`.
    pub rpc: usize,
    /// Events queued for one node. Beyond it events are dropped, and the node registers again with its positions.
    pub fanout: usize,
    /// Snapshot chunks in flight to one node.
    pub snapshot: usize,
}

/// Shared secret of the cluster. Redacted in debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClusterSecret(Arc<[u8]>);

// === impl TransportConfig ===

impl Default for TransportConfig {
    fn default() -> Self {
        TransportConfig {
            listen: "127.0.0.1:0".into(),
            secret: ClusterSecret::default(),
            tls: None,
            connect_timeout: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(2),
            ping_every: Duration::from_millis(500),
            peer_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            flush: Duration::from_millis(250),
            max_body: 32 << 20,
            bounds: QueueLimits::default(),
        }
    }
}

// === impl QueueLimits ===

impl QueueLimits {
    /// Returns the bound of one class in bytes.
    pub fn of(&self, class: ConnectionClass) -> usize {
        match class {
            ConnectionClass::Raft => self.raft,
            ConnectionClass::Rpc => self.rpc,
            ConnectionClass::Fanout => self.fanout,
            ConnectionClass::Snapshot => self.snapshot,
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits {
            raft: 64 << 20,
            rpc: 16 << 20,
            fanout: 32 << 20,
            snapshot: 16 << 20,
        }
    }
}

// === impl ClusterSecret ===

impl ClusterSecret {
    /// Returns the key of the handshake's proofs.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns true if no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for ClusterSecret {
    fn from(text: &str) -> Self {
        ClusterSecret(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for ClusterSecret {
    fn from(bytes: Vec<u8>) -> Self {
        ClusterSecret(bytes.into())
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Secret(none)"
        } else {
            "Secret(set)"
        })
    }
}
