//! The state of a simulated network: who listens, what is under way, what is cut, and the one source of chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Weather;
use crate::transport::door::{Acceptor, Socket};
use crate::types::NodeId;

/// Bytes that may be under way in one direction of a connection: the socket buffers of both ends.
pub(crate) const SOCKET_BUFFER: usize = 512 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 128;

/// Everything between the nodes. Ordered maps throughout: the order of a walk is part of the run.
pub(crate) struct World {
    rng: StdRng,
    pub(crate) weather: Weather,
    /// Directions that let nothing through.
    pub(crate) blocked: BTreeSet<(NodeId, NodeId)>,
    /// Groups that are cut off from everybody else.
    pub(crate) cuts: Vec<BTreeSet<NodeId>>,
    pub(crate) listeners: BTreeMap<NodeId, mpsc::Sender<Socket>>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

/// Two pipes: number `i` leads from `ends[i]` to the other end.
pub(crate) struct Connection {
    pub(crate) ends: [NodeId; 2],
    pub(crate) pipes: [Pipe; 2],
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Live,
    /// Nothing arrives any more, and nobody is told.
    BlackHole,
    Reset,
}

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Pipe {
    /// What was written, with the time of its arrival; an empty one is the end.
    pub(crate) chunks: VecDeque<(Instant, Bytes)>,
    pub(crate) bytes: usize,
    pub(crate) last_due: Option<Instant>,
    pub(crate) write_closed: bool,
    pub(crate) read_closed: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

/// The listening side of a node.
pub(crate) struct Backlog(mpsc::Receiver<Socket>);

// === impl World ===

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World {
            rng: StdRng::seed_from_u64(seed),
            weather: Weather::default(),
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

    /// How long something written now is under way.
    pub(crate) fn draw_delay(&mut self) -> Duration {
        self.weather.delay + self.weather.jitter.mul_f64(self.rng.random())
    }

    /// Whether, and how, the connection breaks at a write.
    pub(crate) fn draw_fate(&mut self) -> Fate {
        match self.rng.random_bool(self.weather.loss.clamp(0.0, 1.0)) {
            false => Fate::Live,
            true if self.rng.random() => Fate::Reset,
            true => Fate::BlackHole,
        }
    }

    pub(crate) fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to))
            || self
                .cuts
                .iter()
                .any(|cut| cut.contains(&from) != cut.contains(&to))
    }

    /// Begins to listen; nothing if the node does already. A listener that was dropped, as a dead life's shutdown drops
    /// its own, doesn't count.
    pub(crate) fn listen(&mut self, node: NodeId) -> Option<Backlog> {
        let listens = |listener: &mpsc::Sender<Socket>| !listener.is_closed();
        if self.listeners.get(&node).is_some_and(listens) {
            return None;
        }
        let (sender, backlog) = mpsc::channel(BACKLOG);
        self.listeners.insert(node, sender);
        Some(Backlog(backlog))
    }

    /// A new connection between the two nodes.
    pub(crate) fn open(&mut self, ends: [NodeId; 2]) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(
            id,
            Connection {
                ends,
                pipes: Default::default(),
                fate: Fate::Live,
            },
        );
        id
    }

    /// The connection `id`; nothing once both ends have let go of it.
    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Forgets the connection once nobody can read or write it.
    pub(crate) fn tidy(&mut self, id: u64) {
        let done = |connection: &Connection| connection.pipes.iter().all(|p| p.write_closed && p.read_closed);
        if self.connections.get(&id).is_some_and(done) {
            self.connections.remove(&id);
        }
    }

    /// Resets the connections whose ends fit.
    pub(crate) fn reset(&mut self, fits: impl Fn([NodeId; 2]) -> bool) {
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| fits(connection.ends))
        {
            connection.end(Fate::Reset);
        }
    }

    /// Lets everybody look again: what held them back may be gone.
    pub(crate) fn wake(&mut self) {
        self.connections.values_mut().for_each(Connection::wake);
    }
}

// === impl Connection ===

impl Connection {
    /// Breaks the connection; what was under way is lost.
    pub(crate) fn end(&mut self, fate: Fate) {
        self.fate = fate;
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
    /// Sends `chunk` behind what was sent before it.
    pub(crate) fn send(&mut self, chunk: Bytes, delay: Duration) {
        let due = (Instant::now() + delay).max(self.last_due.unwrap_or_else(Instant::now));
        self.last_due = Some(due);
        self.bytes += chunk.len();
        self.chunks.push_back((due, chunk));
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

// === impl Backlog ===

impl Acceptor for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Socket>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(socket) => Ok(socket),
                // The node was crashed; its tasks are about to end.
                None => std::future::pending().await,
            }
        })
    }
}
