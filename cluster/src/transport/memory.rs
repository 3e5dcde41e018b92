//! A simulated network: the same transport over sockets in memory, with seeded faults, in tokio time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};

use super::{Error, Handler, Identity, Lane, Transport, TransportConfig};
use crate::types::NodeId;

/// The network between simulated nodes; a cheap handle. Deterministic for a seed on a single-threaded runtime with
/// paused time.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {}

/// How the network behaves; settable at any time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weather {
    /// Shortest time from write to read. The clock of simulated time ticks in milliseconds.
    pub delay: Duration,
    /// Up to this much is added, drawn for each write.
    pub jitter: Duration,
    /// Chance, per write, that the link breaks there: half of the breaks are resets that both ends notice, half are
    /// black holes that only silence reveals.
    pub loss: f64,
}

/// One simulated node's transport; a cheap handle.
#[derive(Clone, Debug)]
pub struct MemoryTransport {}

// === impl MemoryNetwork ===

impl MemoryNetwork {
    /// A calm network whose delays, faults, nonces and backoffs all come from `seed`.
    pub fn new(seed: u64) -> MemoryNetwork {
        MemoryNetwork::with_config(seed, TransportConfig::default())
    }

    /// A calm network of nodes with these transport settings.
    pub fn with_config(_seed: u64, _config: TransportConfig) -> MemoryNetwork {
        MemoryNetwork {}
    }

    /// The transport of a (re)started node. An earlier one of the same node is crashed first. Its tasks run on the
    /// tokio runtime this is called on.
    pub fn transport(&self, _node: NodeId) -> MemoryTransport {
        MemoryTransport {}
    }

    /// The address under which `node` is dialled, for `set_peers` and `call_addr`.
    pub fn addr(&self, node: NodeId) -> String {
        format!("memory:{}", node.0)
    }

    /// Changes delay, jitter and loss for everything written from now on.
    pub fn set_weather(&self, _weather: Weather) {}

    /// Stops what goes from `from` to `to`: held while the link lives, lost when silence ends it.
    pub fn block(&self, _from: NodeId, _to: NodeId) {}

    /// Lets `from` reach `to` again.
    pub fn unblock(&self, _from: NodeId, _to: NodeId) {}

    /// Cuts the nodes of `group` off from all others, both ways.
    pub fn partition(&self, _group: &[NodeId]) {}

    /// Lifts every block.
    pub fn heal(&self) {}

    /// Breaks every connection between the two nodes at once, as a reset would.
    pub fn reset(&self, _a: NodeId, _b: NodeId) {}

    /// Kills a node: its handler hears nothing more, its calls answer `Closed`, its peers see resets and refusals.
    pub fn crash(&self, _node: NodeId) {}
}

// === impl MemoryTransport ===

impl Transport for MemoryTransport {
    fn start(&self, _me: Identity, _handler: Arc<dyn Handler>) {}

    fn set_peers(&self, _peers: Vec<(NodeId, String)>) {}

    fn call(
        &self,
        _to: NodeId,
        _lane: Lane,
        _method: u16,
        _body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        Box::pin(future::ready(Err(Error::Closed)))
    }

    fn cast(&self, _to: NodeId, _lane: Lane, _method: u16, _body: Bytes) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn call_addr(
        &self,
        _addr: &str,
        _method: u16,
        _body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        Box::pin(future::ready(Err(Error::Closed)))
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(future::ready(()))
    }
}
