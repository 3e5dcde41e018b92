//! State of a simulated network: listeners, connections, blocked directions and the only random number generator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::LinkConditions;
use crate::ids::NodeId;
use crate::transport::io::{Acceptor, IoStream};

/// Maximum bytes in flight in one direction of a connection: the socket buffers of both ends.
pub(crate) const SOCKET_BUFFER: usize = 512 << 10;

/// Maximum number of connections that wait to be accepted.
const BACKLOG: usize = 128;

/// Simulated network. All maps are ordered, because the order of iteration is part of a deterministic run.
pub(crate) struct SimNetwork {
    rng: StdRng,
    pub(crate) conditions: LinkConditions,
    pub(crate) blocked: BTreeSet<(NodeId, NodeId)>,
    /// Groups that are separated from all other nodes.
    pub(crate) cuts: Vec<BTreeSet<NodeId>>,
    pub(crate) listeners: BTreeMap<NodeId, mpsc::Sender<IoStream>>,
    connections: BTreeMap<u64, SimConnection>,
    next_connection: u64,
}

/// Two pipes; number `i` leads from `ends[i]` to the other end.
pub(crate) struct SimConnection {
    pub(crate) ends: [NodeId; 2],
    pub(crate) pipes: [Pipe; 2],
    pub(crate) fault: WriteFault,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WriteFault {
    Live,
    /// Nothing arrives any more, and neither end is informed.
    BlackHole,
    Reset,
}

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Pipe {
    /// Written chunks with their time of arrival; an empty one marks the end.
    pub(crate) chunks: VecDeque<(Instant, Bytes)>,
    pub(crate) bytes: usize,
    pub(crate) last_due: Option<Instant>,
    pub(crate) write_closed: bool,
    pub(crate) read_closed: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

/// Listening side of a simulated node.
pub(crate) struct Backlog(mpsc::Receiver<IoStream>);

// === impl SimNetwork ===

impl SimNetwork {
    pub(crate) fn new(seed: u64) -> SimNetwork {
        SimNetwork {
            rng: StdRng::seed_from_u64(seed),
            conditions: LinkConditions::default(),
            blocked: BTreeSet::new(),
            cuts: Vec::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// Draws the delay of data written now.
    pub(crate) fn draw_delay(&mut self) -> Duration {
        self.conditions.delay + self.conditions.jitter.mul_f64(self.rng.random())
    }

    /// Draws the fault, if any, of a write.
    pub(crate) fn draw_fault(&mut self) -> WriteFault {
        match self.rng.random_bool(self.conditions.loss.clamp(0.0, 1.0)) {
            false => WriteFault::Live,
            true if self.rng.random() => WriteFault::Reset,
            true => WriteFault::BlackHole,
        }
    }

    pub(crate) fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to))
            || self
                .cuts
                .iter()
                .any(|cut| cut.contains(&from) != cut.contains(&to))
    }

    /// Starts listening; `None` if the node already listens. A dropped listener, such as that of a process that was
    /// shut down, does not count.
    pub(crate) fn listen(&mut self, node: NodeId) -> Option<Backlog> {
        let listens = |listener: &mpsc::Sender<IoStream>| !listener.is_closed();
        if self.listeners.get(&node).is_some_and(listens) {
            return None;
        }
        let (sender, backlog) = mpsc::channel(BACKLOG);
        self.listeners.insert(node, sender);
        Some(Backlog(backlog))
    }

    /// Creates a connection between the two nodes and returns its id.
    pub(crate) fn open(&mut self, ends: [NodeId; 2]) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(
            id,
            SimConnection {
                ends,
                pipes: Default::default(),
                fault: WriteFault::Live,
            },
        );
        id
    }

    /// Returns the connection `id`; `None` once both ends have closed it.
    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut SimConnection> {
        self.connections.get_mut(&id)
    }

    /// Removes the connection once neither end can read or write it.
    pub(crate) fn tidy(&mut self, id: u64) {
        let done =
            |connection: &SimConnection| connection.pipes.iter().all(|p| p.write_closed && p.read_closed);
        if self.connections.get(&id).is_some_and(done) {
            self.connections.remove(&id);
        }
    }

    /// Resets the connections whose ends satisfy `fits`.
    pub(crate) fn reset(&mut self, fits: impl Fn([NodeId; 2]) -> bool) {
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| fits(connection.ends))
        {
            connection.end(WriteFault::Reset);
        }
    }

    /// Wakes all readers and writers, because a block may have been removed.
    pub(crate) fn wake(&mut self) {
        self.connections.values_mut().for_each(SimConnection::wake);
    }
}

// === impl SimConnection ===

impl SimConnection {
    /// Breaks the connection; data in flight is lost.
    pub(crate) fn end(&mut self, fault: WriteFault) {
        self.fault = fault;
        self.pipes.iter_mut().for_each(|pipe| pipe.chunks.clear());
        self.wake();
    }

    fn wake(&mut self) {
        for pipe in &mut self.pipes {
            pipe.reader
                .take()
                .into_iter()
                .chain(pipe.writer.take())
                .for_each(Waker::wake);
        }
    }
}

// === impl Pipe ===

impl Pipe {
    /// Sends `chunk` behind all earlier ones.
    pub(crate) fn send(&mut self, chunk: Bytes, delay: Duration) {
        // Not before the previous chunk: with jitter alone a later chunk could arrive earlier.
        let due = (Instant::now() + delay).max(self.last_due.unwrap_or_else(Instant::now));
        self.last_due = Some(due);
        self.bytes += chunk.len();
        self.chunks.push_back((due, chunk));
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

// === impl Backlog ===

impl Acceptor for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<IoStream>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(socket) => Ok(socket),
                // The node was crashed; its tasks are about to end.
                None => std::future::pending().await,
            }
        })
    }
}
