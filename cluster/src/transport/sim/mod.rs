//! Simulated network: the transport of real nodes over sockets in memory, with seeded faults, in tokio's time.
//!
//! Only the network access is simulated. Handshakes, frames, deadlines, keepalives and reconnecting are the code that
//! runs over TCP. A fault is therefore detected as it would be there: a reset immediately, a black hole by a timeout.

mod network;
mod socket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::io::{Acceptor, IoStream, NetworkIo};
use super::{ConnectionClass, Error, Handler, Metrics, NodeIdentity, Transport, TransportConfig};
use crate::ids::NodeId;
use network::SimNetwork;

/// Network between simulated nodes. Cheap to clone. Deterministic for a seed on a single-threaded runtime with paused
/// time.
#[derive(Clone)]
pub struct SimNetworkHandle {
    network: Arc<Mutex<SimNetwork>>,
    config: TransportConfig,
    nodes: Arc<Mutex<BTreeMap<NodeId, Endpoint>>>,
}

/// Delays and loss of the network; changeable at any time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkConditions {
    /// Shortest time from write to read. Simulated time has a resolution of milliseconds.
    pub delay: Duration,
    /// Maximum random addition to the delay, drawn for each write.
    pub jitter: Duration,
    /// Probability per write that the connection breaks. Half of the breaks are resets that both ends detect, half are
    /// black holes that only a timeout reveals.
    pub loss: f64,
}

/// Transport of one simulated node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SimTransport {
    endpoint: Endpoint,
}

/// Network access of one simulated node.
struct SimIo {
    network: Arc<Mutex<SimNetwork>>,
    node: NodeId,
}

// === impl SimNetworkHandle ===

impl SimNetworkHandle {
    /// Creates a network without loss whose delays, faults, nonces and backoffs all derive from `seed`.
    pub fn new(seed: u64) -> SimNetworkHandle {
        SimNetworkHandle::with_config(seed, TransportConfig::default())
    }

    /// Creates a network without loss for nodes with these transport settings.
    pub fn with_config(seed: u64, config: TransportConfig) -> SimNetworkHandle {
        SimNetworkHandle {
            network: Arc::new(Mutex::new(SimNetwork::new(seed))),
            config,
            nodes: Arc::default(),
        }
    }

    /// Returns the transport of a started or restarted node. An earlier one of the same node is crashed first. The
    /// tasks run on the tokio runtime of the caller.
    pub fn transport(&self, node: NodeId) -> SimTransport {
        self.crash(node);
        let endpoint = Endpoint::new(
            self.config.clone(),
            SimIo {
                network: Arc::clone(&self.network),
                node,
            },
        );
        self.nodes.lock().insert(node, endpoint.clone());
        SimTransport { endpoint }
    }

    /// Returns the address of `node` for `set_peers` and `call_addr`.
    pub fn addr(&self, node: NodeId) -> String {
        format!("memory:{node}")
    }

    /// Changes delay, jitter and loss of all later writes.
    pub fn set_conditions(&self, conditions: LinkConditions) {
        self.network.lock().conditions = conditions;
    }

    /// Blocks the direction from `from` to `to`. Data is held while the connection lives and lost when a timeout ends
    /// it.
    pub fn block(&self, from: NodeId, to: NodeId) {
        self.network.lock().blocked.insert((from, to));
    }

    /// Unblocks the direction from `from` to `to`.
    pub fn unblock(&self, from: NodeId, to: NodeId) {
        let mut network = self.network.lock();
        network.blocked.remove(&(from, to));
        // Readers of held data have no timer and must be woken.
        network.wake();
    }

    /// Separates the nodes of `group` from all others, in both directions, also from nodes that start later. Partitions
    /// accumulate.
    pub fn partition(&self, group: &[NodeId]) {
        self.network.lock().cuts.push(group.iter().copied().collect());
    }

    /// Removes every block and every partition.
    pub fn heal(&self) {
        let mut network = self.network.lock();
        network.blocked.clear();
        network.cuts.clear();
        network.wake();
    }

    /// Breaks every connection between the two nodes immediately, as a reset would; data in flight is lost.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        self.network.lock().reset(|ends| ends == [a, b] || ends == [b, a]);
    }

    /// Kills a node. Its handler is not called any more, its calls return `Closed` (or `Lost` if they were sent), and
    /// its peers see resets and refused connections.
    pub fn crash(&self, node: NodeId) {
        let Some(endpoint) = self.nodes.lock().remove(&node) else {
            return;
        };
        // The process dies before its connections break: it must not observe its own crash.
        endpoint.kill();
        let mut network = self.network.lock();
        network.listeners.remove(&node);
        network.reset(|ends| ends.contains(&node));
    }
}

impl fmt::Debug for SimNetworkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork")
            .field("nodes", &self.nodes.lock().keys())
            .finish_non_exhaustive()
    }
}

// === impl LinkConditions ===

impl Default for LinkConditions {
    fn default() -> Self {
        LinkConditions {
            delay: Duration::from_micros(500),
            jitter: Duration::from_micros(500),
            loss: 0.0,
        }
    }
}

// === impl SimTransport ===

impl SimTransport {
    pub fn metrics(&self) -> &Metrics {
        self.endpoint.metrics()
    }
}

impl Transport for SimTransport {
    fn start(&self, me: NodeIdentity, handler: Arc<dyn Handler>) {
        self.endpoint.start(me, handler);
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        self.endpoint.set_peers(peers);
    }

    fn call(
        &self,
        to: NodeId,
        class: ConnectionClass,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call(to, class, method, body, deadline)
    }

    fn cast(&self, to: NodeId, class: ConnectionClass, method: u16, body: Bytes) -> Result<(), Error> {
        self.endpoint.cast(to, class, method, body)
    }

    fn call_addr(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call_addr(addr, method, body, deadline)
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.endpoint.shutdown()
    }
}

// === impl SimIo ===

impl NetworkIo for SimIo {
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<IoStream>> {
        let to = addr
            .strip_prefix("memory:")
            .and_then(|id| id.parse().ok())
            .map(NodeId);
        let (network, from) = (Arc::clone(&self.network), self.node);
        Box::pin(async move {
            let to = to.ok_or(io::ErrorKind::InvalidInput)?;
            socket::connect(network, from, to).await
        })
    }

    fn listen(&self) -> Option<Box<dyn Acceptor>> {
        self.network
            .lock()
            .listen(self.node)
            .map(|acceptor| Box::new(acceptor) as Box<dyn Acceptor>)
    }

    fn random(&self, bytes: &mut [u8]) {
        self.network.lock().fill(bytes);
    }
}
