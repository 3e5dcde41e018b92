//! A simulated network: the transport of real nodes over sockets in memory, with seeded faults, in tokio's time.
//!
//! Only the door is simulated. Handshakes, frames, deadlines, signs of life and reconnecting are the code that runs
//! over TCP, so a fault is noticed the way it would be there: a reset at once, a black hole by silence.

mod socket;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::door::{Acceptor, Door, Socket};
use super::endpoint::Endpoint;
use super::{Error, Handler, Identity, Lane, Metrics, Transport, TransportConfig};
use crate::types::NodeId;
use world::World;

/// The network between simulated nodes; a cheap handle. Deterministic for a seed on a single-threaded runtime with
/// paused time.
#[derive(Clone)]
pub struct MemoryNetwork {
    world: Arc<Mutex<World>>,
    config: TransportConfig,
    nodes: Arc<Mutex<BTreeMap<NodeId, Endpoint>>>,
}

/// How the network behaves; settable at any time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weather {
    /// Shortest time from write to read. The clock of simulated time ticks in milliseconds.
    pub delay: Duration,
    /// Up to this much is added, drawn for each write.
    pub jitter: Duration,
    /// Chance, per write, that the connection breaks there: half of the breaks are resets that both ends notice, half
    /// are black holes that only silence reveals.
    pub loss: f64,
}

/// One simulated node's transport; a cheap handle.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    endpoint: Endpoint,
}

/// A node's door to the simulated network.
struct MemoryDoor {
    world: Arc<Mutex<World>>,
    node: NodeId,
}

// === impl MemoryNetwork ===

impl MemoryNetwork {
    /// A calm network whose delays, faults, nonces and backoffs all come from `seed`.
    pub fn new(seed: u64) -> MemoryNetwork {
        MemoryNetwork::with_config(seed, TransportConfig::default())
    }

    /// A calm network of nodes with these transport settings.
    pub fn with_config(seed: u64, config: TransportConfig) -> MemoryNetwork {
        MemoryNetwork {
            world: Arc::new(Mutex::new(World::new(seed))),
            config,
            nodes: Arc::default(),
        }
    }

    /// The transport of a (re)started node. An earlier one of the same node is crashed first. Its tasks run on the
    /// tokio runtime this is called on.
    pub fn transport(&self, node: NodeId) -> MemoryTransport {
        self.crash(node);
        let endpoint = Endpoint::new(
            self.config.clone(),
            MemoryDoor {
                world: Arc::clone(&self.world),
                node,
            },
        );
        self.nodes.lock().insert(node, endpoint.clone());
        MemoryTransport { endpoint }
    }

    /// The address under which `node` is dialled, for `set_peers` and `call_addr`.
    pub fn addr(&self, node: NodeId) -> String {
        format!("memory:{node}")
    }

    /// Changes delay, jitter and loss for everything written from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.world.lock().weather = weather;
    }

    /// Stops what goes from `from` to `to`: held while the connection lives, lost when silence ends it.
    pub fn block(&self, from: NodeId, to: NodeId) {
        self.world.lock().blocked.insert((from, to));
    }

    /// Lets `from` reach `to` again.
    pub fn unblock(&self, from: NodeId, to: NodeId) {
        let mut world = self.world.lock();
        world.blocked.remove(&(from, to));
        world.wake();
    }

    /// Cuts the nodes of `group` off from all others, both ways, also from nodes that start later. Partitions add up.
    pub fn partition(&self, group: &[NodeId]) {
        self.world.lock().cuts.push(group.iter().copied().collect());
    }

    /// Lifts every block and every partition.
    pub fn heal(&self) {
        let mut world = self.world.lock();
        world.blocked.clear();
        world.cuts.clear();
        world.wake();
    }

    /// Breaks every connection between the two nodes at once, as a reset would; what was under way is lost.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        self.world.lock().reset(|ends| ends == [a, b] || ends == [b, a]);
    }

    /// Kills a node: its handler hears nothing more, its calls answer `Closed` (or `Lost`, when they were sent), its
    /// peers see resets and refusals.
    pub fn crash(&self, node: NodeId) {
        let Some(endpoint) = self.nodes.lock().remove(&node) else {
            return;
        };
        endpoint.kill();
        let mut world = self.world.lock();
        world.listeners.remove(&node);
        world.reset(|ends| ends.contains(&node));
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork")
            .field("nodes", &self.nodes.lock().keys())
            .finish_non_exhaustive()
    }
}

// === impl Weather ===

impl Default for Weather {
    fn default() -> Self {
        Weather {
            delay: Duration::from_micros(500),
            jitter: Duration::from_micros(500),
            loss: 0.0,
        }
    }
}

// === impl MemoryTransport ===

impl MemoryTransport {
    /// The transport's counters.
    pub fn metrics(&self) -> &Metrics {
        self.endpoint.metrics()
    }
}

impl Transport for MemoryTransport {
    fn start(&self, me: Identity, handler: Arc<dyn Handler>) {
        self.endpoint.start(me, handler);
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        self.endpoint.set_peers(peers);
    }

    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call(to, lane, method, body, deadline)
    }

    fn cast(&self, to: NodeId, lane: Lane, method: u16, body: Bytes) -> Result<(), Error> {
        self.endpoint.cast(to, lane, method, body)
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

// === impl MemoryDoor ===

impl Door for MemoryDoor {
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<Socket>> {
        let to = addr
            .strip_prefix("memory:")
            .and_then(|id| id.parse().ok())
            .map(NodeId);
        let (world, from) = (Arc::clone(&self.world), self.node);
        Box::pin(async move {
            let to = to.ok_or(io::ErrorKind::InvalidInput)?;
            socket::connect(world, from, to).await
        })
    }

    fn listen(&self) -> Option<Box<dyn Acceptor>> {
        self.world
            .lock()
            .listen(self.node)
            .map(|acceptor| Box::new(acceptor) as Box<dyn Acceptor>)
    }

    fn random(&self, bytes: &mut [u8]) {
        self.world.lock().fill(bytes);
    }
}
