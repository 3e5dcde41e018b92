//! The transport's settings: bounds and times, each with its reason.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Lane;

/// Settings of a node's transport. Peers may differ in all but the secret.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where to listen, `host:port`; port 0 lets the system choose. Unused in memory.
    pub listen: String,
    /// Shared by all nodes of the cluster; proves at connect that a peer belongs to it. May be empty only where
    /// `listen` is a loopback address.
    pub secret: Secret,
    /// How long to wait for a TCP connection. A black-holed peer costs this much per attempt.
    pub connect_timeout: Duration,
    /// How long the handshake may take. Bounds what an unauthenticated connection can hold.
    pub handshake_timeout: Duration,
    /// A link on which nothing arrived for this long is asked for a sign of life.
    pub ping_every: Duration,
    /// A link on which nothing arrived for this long is closed. Must be several times `ping_every`.
    pub silence: Duration,
    /// First pause after a failed connection attempt; doubles up to `backoff_max`, drawn with full jitter.
    pub backoff_min: Duration,
    /// Longest pause between connection attempts. Bounds how late a returned peer is noticed.
    pub backoff_max: Duration,
    /// How long `shutdown` may spend on writing what is queued.
    pub flush: Duration,
    /// Largest body of a frame in bytes; a declared length above it closes the connection before anything is
    /// allocated. Must hold the largest append and the largest snapshot chunk.
    pub max_body: usize,
    /// How many bytes each outgoing lane to a peer may hold.
    pub bounds: LaneBounds,
}

/// Bytes per outgoing lane: frames not yet written, and calls not yet answered. The same figure bounds the answers
/// that wait on an incoming connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneBounds {
    /// Appends under way to one follower.
    pub raft: usize,
    /// Requests under way to one node; more means the node is overloaded, and the caller answers `busy`.
    pub rpc: usize,
    /// Events waiting for one node; over it they are dropped and the node registers again with its cursors.
    pub fanout: usize,
    /// Snapshot chunks under way to one node.
    pub snapshot: usize,
}

/// The cluster's shared secret. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

// === impl TransportConfig ===

impl Default for TransportConfig {
    fn default() -> Self {
        TransportConfig {
            listen: "127.0.0.1:0".into(),
            secret: Secret::default(),
            connect_timeout: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(2),
            ping_every: Duration::from_millis(500),
            silence: Duration::from_secs(3),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            flush: Duration::from_millis(250),
            max_body: 32 << 20,
            bounds: LaneBounds::default(),
        }
    }
}

// === impl LaneBounds ===

impl LaneBounds {
    /// The bound of one lane in bytes.
    pub fn of(&self, lane: Lane) -> usize {
        match lane {
            Lane::Raft => self.raft,
            Lane::Rpc => self.rpc,
            Lane::Fanout => self.fanout,
            Lane::Snapshot => self.snapshot,
        }
    }
}

impl Default for LaneBounds {
    fn default() -> Self {
        LaneBounds {
            raft: 64 << 20,
            rpc: 16 << 20,
            fanout: 32 << 20,
            snapshot: 16 << 20,
        }
    }
}

// === impl Secret ===

impl Secret {
    /// The key of the handshake's proofs.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Secret(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Secret(none)"
        } else {
            "Secret(set)"
        })
    }
}
