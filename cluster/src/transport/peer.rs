//! Sending side of the transport: connections to one peer, one per class, dialled again whenever they
//! end.
//!
//! Previous: [`outgoing_queue`](super::outgoing_queue). Next: [`listener`](super::listener) at the other node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connection::{CloseCause, FrameReader, Keepalive, WriteHalf, write_all_of};
use super::endpoint::EndpointShared;
use super::frame::FrameBatch;
use super::handshake::{self, HandshakeError, MAX_BODY};
use super::handshake_messages::{self, TransportHello};
use super::io::{NetworkIo, random_u64};
use super::metrics::ClassMetrics;
use super::outgoing_queue::OutgoingQueue;
use super::running_transport::RunningTransport;
use super::{ConnectionClass, ConnectionState};
use crate::ids::NodeId;

/// Node that this one dials.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) addr: String,
    connections: [Dialled; 4],
    stop: CancellationToken,
    /// Tasks of the connections; empty when the last one has ended.
    tasks: TaskTracker,
}

/// Queue of one connection class, and the state of its dialling task.
struct Dialled {
    class: ConnectionClass,
    outgoing: Arc<OutgoingQueue>,
    metrics: ClassMetrics,
    /// Ends a pause between two attempts, when the peer is known to be reachable.
    kick: Notify,
}

/// Outgoing connection after the handshake.
pub(crate) struct OutgoingConnection {
    pub(crate) reader: FrameReader,
    writer: WriteHalf,
    incarnation: u64,
}

/// Pause between connection attempts. It doubles, and half of it is random, so that peers do not reconnect in step.
struct ReconnectBackoff {
    next: Duration,
}

// === impl Peer ===

impl Peer {
    /// Starts to dial `node`, once the tasks of its `predecessors` have ended.
    pub(crate) fn start(
        shared: &Arc<EndpointShared>,
        session: &Arc<RunningTransport>,
        node: NodeId,
        addr: String,
        predecessors: Vec<TaskTracker>,
    ) -> Arc<Peer> {
        let config = &shared.config;
        let connections = ConnectionClass::ALL.map(|class| {
            let metrics = shared.metrics.class(node, class);
            let outgoing = OutgoingQueue::new(config.bounds.of(class), config.max_body, metrics.clone());
            Dialled {
                class,
                outgoing: Arc::new(outgoing),
                metrics,
                kick: Notify::new(),
            }
        });
        let peer = Arc::new(Peer {
            node,
            addr,
            connections,
            stop: session.stop.child_token(),
            tasks: TaskTracker::new(),
        });
        for index in 0..peer.connections.len() {
            let dialling = Peer::dial(
                Arc::clone(&peer),
                index,
                Arc::clone(shared),
                Arc::clone(session),
                predecessors.clone(),
            );
            peer.tasks
                .spawn_on(shared.tracker.track_future(dialling), &shared.runtime);
        }
        peer.tasks.close();
        peer
    }

    async fn dial(
        self: Arc<Self>,
        index: usize,
        shared: Arc<EndpointShared>,
        session: Arc<RunningTransport>,
        predecessors: Vec<TaskTracker>,
    ) {
        // The handler must see `Down` of the old connections before `Up` of the new ones.
        for predecessor in predecessors {
            predecessor.wait().await;
        }
        self.connections[index].run(&self, &shared, &session).await;
    }

    /// Returns the outgoing queue of a class.
    pub(crate) fn queue(&self, class: ConnectionClass) -> &Arc<OutgoingQueue> {
        &self.connections[class as usize - 1].outgoing
    }

    /// Dials immediately instead of after the pause, because the peer has just connected to this node.
    pub(crate) fn kick(&self) {
        self.connections
            .iter()
            .for_each(|connection| connection.kick.notify_one());
    }

    /// Closes every connection; the returned tracker is empty when they have ended.
    pub(crate) fn stop(&self) -> TaskTracker {
        self.stop.cancel();
        self.tasks.clone()
    }

    /// Refuses all requests and fails the pending ones, before any task runs again.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
        self.connections
            .iter()
            .for_each(|connection| connection.outgoing.close());
    }
}

// === impl Dialled ===

impl Dialled {
    async fn run(&self, peer: &Peer, shared: &EndpointShared, session: &RunningTransport) {
        let config = &shared.config;
        let mut backoff = ReconnectBackoff {
            next: config.backoff_min,
        };
        while !peer.stop.is_cancelled() {
            let connected = tokio::select! {
                // Biased: after a stop no further connection is made.
                biased;
                () = peer.stop.cancelled() => break,
                connected = connect(shared, session, &peer.addr, peer.node, self.class) => connected,
            };
            match connected {
                Ok(link) => {
                    shared.refusal_log.accepted(&peer.addr);
                    // A handshake has succeeded, so the peer is alive: the next failure starts with the shortest pause.
                    backoff = ReconnectBackoff {
                        next: config.backoff_min,
                    };
                    self.serve(peer, shared, session, link).await;
                }
                Err(HandshakeError::Refused(refusal)) => {
                    shared.metrics.count_refused();
                    shared.refusal_log.refused(&peer.addr, refusal);
                }
                Err(HandshakeError::NotAdmitted(verdict)) => {
                    shared.metrics.count_refused();
                    if let Some(handler) = session.handler() {
                        handler.refused(peer.node, verdict);
                    }
                }
                Err(HandshakeError::Insecure(error)) => {
                    shared.metrics.count_refused();
                    shared.refusal_log.insecure(&peer.addr, &error);
                }
                Err(HandshakeError::Ended(ended)) => {
                    debug!(peer = %peer.node, class = %self.class, reason = %ended, "peer unreachable");
                }
            }
            // Also after an orderly end: a peer that accepts and closes must not be dialled in a tight loop.
            tokio::select! {
                biased;
                () = peer.stop.cancelled() => break,
                () = self.kick.notified() => {}
                () = tokio::time::sleep(backoff.pause(config.backoff_max, &*shared.io)) => {}
            }
        }
        self.outgoing.close();
    }

    async fn serve(
        &self,
        peer: &Peer,
        shared: &EndpointShared,
        session: &RunningTransport,
        link: OutgoingConnection,
    ) {
        let incarnation = link.incarnation;
        self.metrics.connects.inc();
        // Before the handler sees `Up`, so that it can send on the new connection.
        self.outgoing.connected();
        session.link(peer.node, self.class, ConnectionState::Up(incarnation));
        let ended = self.exchange(shared, link, &peer.stop).await;
        // Before the handler sees `Down`: no request may be accepted afterwards.
        self.outgoing.disconnected();
        session.link(peer.node, self.class, ConnectionState::Down);
        match ended {
            CloseCause::Corrupt(_) | CloseCause::Unexpected => {
                if let Some(held_back) = shared.broken.due() {
                    warn!(peer = %peer.node, class = %self.class, reason = %ended, held_back, "outgoing connection closed");
                }
            }
            _ => debug!(peer = %peer.node, class = %self.class, reason = %ended, "outgoing connection lost"),
        }
    }

    /// Moves frames until the connection ends.
    async fn exchange(
        &self,
        shared: &EndpointShared,
        mut link: OutgoingConnection,
        stop: &CancellationToken,
    ) -> CloseCause {
        let keepalive = Keepalive::default();
        let reading = link.reader.run(&keepalive, &self.metrics, &*self.outgoing);
        let writing = write_all_of(&*self.outgoing, link.writer, &keepalive, &self.metrics, stop);
        let watching = keepalive.watch(shared.config.ping_every, shared.config.peer_timeout, || {
            self.outgoing.ping()
        });
        tokio::pin!(writing);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ended = reading => return ended,
            ended = &mut writing => return ended,
            ended = watching => return ended,
        }
        // Only a stop gets here. The queued frames are written within a limit, since the peer may not be reading.
        timeout(shared.config.flush, writing)
            .await
            .unwrap_or(CloseCause::Stopped)
    }
}

/// Dials `addr` and performs the handshake with node `to`; 0 accepts any node at that address.
pub(crate) async fn connect(
    shared: &EndpointShared,
    session: &RunningTransport,
    addr: &str,
    to: NodeId,
    class: ConnectionClass,
) -> Result<OutgoingConnection, HandshakeError> {
    let late = |_| CloseCause::Io(io::ErrorKind::TimedOut.into());
    let config = &shared.config;
    let socket = timeout(config.connect_timeout, shared.io.connect(addr))
        .await
        .map_err(late)?;
    let socket = socket.map_err(CloseCause::Io)?;
    // New for each connection, so that both ends recognise messages lost between two connections.
    let incarnation = random_u64(&*shared.io);
    let versions = (handshake_messages::VERSION, handshake_messages::OLDEST);
    let mut hello = TransportHello {
        versions,
        class,
        me: session.me,
        to,
        link: incarnation,
        nonce: [0; 32],
    };
    shared.io.random(&mut hello.nonce);
    let admission = |peer| session.admission(peer);
    let shaking = async {
        let secured = shared.io.secure_outgoing(socket, to).await;
        let mut socket = secured.map_err(CloseCause::Io)?;
        let mut reader = FrameReader::new(socket.reader, MAX_BODY);
        let secret = &config.secret;
        handshake::dial(&mut reader, &mut socket.writer, &hello, secret, &admission).await?;
        Ok::<_, HandshakeError>((reader, socket.writer))
    };
    let (mut reader, writer) = timeout(config.handshake_timeout, shaking).await.map_err(late)??;
    // Only after the handshake: an unknown peer must not be able to announce large frames.
    reader.set_max_body(config.max_body);
    Ok(OutgoingConnection {
        reader,
        writer,
        incarnation,
    })
}

// === impl OutgoingConnection ===

impl OutgoingConnection {
    pub(crate) async fn send(&mut self, mut batch: FrameBatch) -> io::Result<()> {
        for chunk in batch.finish() {
            self.writer.write_all(&chunk).await?;
        }
        self.writer.flush().await
    }
}

// === impl ReconnectBackoff ===

impl ReconnectBackoff {
    fn pause(&mut self, max: Duration, io: &dyn NetworkIo) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(max);
        // 24 random bits, which `f64` represents exactly.
        let drawn = (random_u64(io) >> 40) as f64 / (1 << 24) as f64;
        pause.mul_f64(0.5 + drawn / 2.0)
    }
}
