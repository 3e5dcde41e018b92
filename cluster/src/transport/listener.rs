//! Listener of the transport: incoming connections, from the handshake to the handler.
//!
//! Path of a message: step 4 of 13.
//!
//! A peer has at most one incoming connection per class. A newer one replaces the older, and its requests are handled
//! only after the older one has ended, so that the handler sees one order.
//!
//! Previous: [`peer`](super::peer) at the other node. Next: the handler; for Raft requests [`crate::raft`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection::{CloseCause, FrameReader, FrameSink, Keepalive, WriteHalf, write_all_of};
use super::endpoint::EndpointShared;
use super::frame::{FrameKind, TransportFrame};
use super::handshake::{self, HandshakeError, MAX_BODY};
use super::handshake_messages::TransportHello;
use super::io::{Acceptor, IoStream};
use super::metrics::ClassMetrics;
use super::response_queue::ResponseQueue;
use super::running_transport::RunningTransport;
use super::tls::PeerCertificate;
use super::{ConnectionClass, ConnectionState, Responder};
use crate::ids::NodeId;

/// Maximum number of concurrent handshakes; further connections are closed. Bounds the resources of unauthenticated
/// peers.
const HANDSHAKES: usize = 64;

/// Pause after a failed accept; most likely the file descriptors are exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Incoming connections of a node.
#[derive(Debug)]
pub(crate) struct Incoming {
    links: Mutex<IncomingConnections>,
    handshakes: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct IncomingConnections {
    current: BTreeMap<(NodeId, ConnectionClass), CurrentConnection>,
    next_serial: u64,
}

#[derive(Clone, Debug)]
struct CurrentConnection {
    serial: u64,
    replaced: CancellationToken,
    ended: CancellationToken,
}

/// Registration of a peer's current incoming connection of a class; removed on drop.
struct ConnectionClaim<'a> {
    incoming: &'a Incoming,
    key: (NodeId, ConnectionClass),
    current: CurrentConnection,
}

/// Incoming connection whose peer is authenticated.
struct IncomingConnection {
    session: Arc<RunningTransport>,
    hello: TransportHello,
    metrics: ClassMetrics,
    answers: Arc<ResponseQueue>,
}

// === impl Incoming ===

impl Incoming {
    pub(crate) fn new() -> Incoming {
        Incoming {
            links: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        }
    }

    /// Accepts connections until the transport stops.
    pub(crate) async fn run(shared: Arc<EndpointShared>, mut acceptor: Box<dyn Acceptor>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                accepted = acceptor.accept() => accepted,
            };
            match (accepted, shared.session()) {
                (Ok(socket), Some(session)) => {
                    // Closed and not queued: a flood of connections must not delay the peers that authenticate.
                    let Ok(permit) = Arc::clone(&shared.incoming.handshakes).try_acquire_owned() else {
                        debug!(
                            from = socket.from,
                            "too many handshakes at once, connection closed"
                        );
                        continue;
                    };
                    let serving = serve(Arc::clone(&shared), session, socket, permit);
                    shared.tracker.spawn_on(serving, &shared.runtime);
                }
                // Not started yet: the dialler retries.
                (Ok(_), None) => {}
                (Err(error), _) => {
                    debug!(%error, "accept failed");
                    // Without the pause the loop would spin until a descriptor is free.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the connections of these peers. A peer that dials again gets the reason in its handshake.
    pub(crate) fn close_links(&self, of: impl Fn(NodeId) -> bool) {
        for ((peer, _), current) in &self.links.lock().current {
            if of(*peer) {
                current.replaced.cancel();
            }
        }
    }

    /// Registers the caller as the peer's current connection of a class, once the previous one has ended.
    async fn claim(&self, key: (NodeId, ConnectionClass)) -> ConnectionClaim<'_> {
        // The claim exists before the wait below: if the caller is cancelled there, its drop lets the next one
        // continue.
        let (claim, before) = {
            let mut links = self.links.lock();
            let serial = links.next_serial;
            links.next_serial += 1;
            let current = CurrentConnection {
                serial,
                replaced: CancellationToken::new(),
                ended: CancellationToken::new(),
            };
            let before = links.current.insert(key, current.clone());
            (
                ConnectionClaim {
                    incoming: self,
                    key,
                    current,
                },
                before,
            )
        };
        if let Some(before) = before {
            before.replaced.cancel();
            before.ended.cancelled().await;
        }
        claim
    }
}

impl Drop for ConnectionClaim<'_> {
    fn drop(&mut self) {
        let mut links = self.incoming.links.lock();
        // A newer connection may have replaced this entry already; only the own entry is removed.
        if links
            .current
            .get(&self.key)
            .is_some_and(|current| current.serial == self.current.serial)
        {
            links.current.remove(&self.key);
        }
        self.current.ended.cancel();
    }
}

/// Serves one incoming connection, from its first byte to its last.
async fn serve(
    shared: Arc<EndpointShared>,
    session: Arc<RunningTransport>,
    socket: IoStream,
    permit: OwnedSemaphorePermit,
) {
    let from = socket.from.clone();
    let examined = tokio::select! {
        biased;
        () = session.stop.cancelled() => return,
        examined = examine(&shared, &session, socket) => examined,
    };
    // The permit bounds handshakes, not connections.
    drop(permit);
    // Without the port, which differs per connection, so that a refusal is logged once per host.
    let host = from.rsplit_once(':').map_or(from.as_str(), |(host, _)| host);
    let (hello, mut reader, writer) = match examined {
        Ok(examined) => examined,
        Err(HandshakeError::Refused(refusal)) => {
            shared.metrics.count_refused();
            shared.refusal_log.refused(host, refusal);
            return;
        }
        Err(HandshakeError::Insecure(error)) => {
            shared.metrics.count_refused();
            shared.refusal_log.insecure(host, &error);
            return;
        }
        Err(failed) => {
            debug!(from, reason = %failed, "handshake failed");
            return;
        }
    };
    reader.set_max_body(shared.config.max_body);
    let (peer, class, link) = (hello.me.node, hello.class, hello.link);
    let answers = ResponseQueue::new(shared.config.bounds.of(class), shared.config.max_body);
    let connection = IncomingConnection {
        session: Arc::clone(&session),
        metrics: shared.metrics.class(peer, class),
        hello,
        answers,
    };

    // A one-shot call replaces no connection, and several may run at the same time.
    if connection.is_one_shot() {
        connection
            .exchange(&shared, reader, writer, &CancellationToken::new())
            .await;
        connection.answers.close();
        return;
    }
    let claim = shared.incoming.claim((peer, class)).await;
    // The peer is alive, so a pause of dialling it is over.
    shared.kick(peer);
    session.incoming(peer, class, ConnectionState::Up(link));
    let ended = connection
        .exchange(&shared, reader, writer, &claim.current.replaced)
        .await;
    // Before `Down`: late responses of the handler must not pile up in a queue without a writer.
    connection.answers.close();
    session.incoming(peer, class, ConnectionState::Down);
    match ended {
        CloseCause::Corrupt(_) | CloseCause::Unexpected | CloseCause::Overflow => {
            if let Some(held_back) = shared.broken.due() {
                warn!(peer = %peer, class = %class, reason = %ended, held_back, "incoming connection closed");
            }
        }
        _ => debug!(peer = %peer, class = %class, reason = %ended, "incoming connection lost"),
    }
}

/// Authenticates the dialler, with TLS if this node has certificates.
async fn examine(
    shared: &EndpointShared,
    session: &RunningTransport,
    socket: IoStream,
) -> Result<(TransportHello, FrameReader, WriteHalf), HandshakeError> {
    let mut nonce = [0; 32];
    shared.io.random(&mut nonce);
    let admission = |peer| session.admission(peer);
    let secret = &shared.config.secret;
    let examining = async {
        let secured = shared.io.secure_incoming(socket).await;
        let (mut socket, certificate) = secured.map_err(CloseCause::Io)?;
        if matches!(certificate, PeerCertificate::Missing { .. }) {
            shared.metrics.count_unencrypted();
        }
        let (mut reader, writer) = (FrameReader::new(socket.reader, MAX_BODY), &mut socket.writer);
        let (me, certificate) = (session.me, &certificate);
        let hello =
            handshake::accept(&mut reader, writer, me, nonce, secret, certificate, &admission).await?;
        Ok::<_, HandshakeError>((hello, reader, socket.writer))
    };
    timeout(shared.config.handshake_timeout, examining)
        .await
        .map_err(|_| CloseCause::Io(io::ErrorKind::TimedOut.into()))?
}

// === impl IncomingConnection ===

impl IncomingConnection {
    /// Returns true for a one-shot call, whose caller has the address of this node but not its id.
    fn is_one_shot(&self) -> bool {
        self.hello.to == NodeId(0)
    }

    /// Sends the welcome and moves frames until the connection ends.
    async fn exchange(
        &self,
        shared: &EndpointShared,
        mut reader: FrameReader,
        mut writer: WriteHalf,
        replaced: &CancellationToken,
    ) -> CloseCause {
        let keepalive = Keepalive::default();
        let stop = &self.session.stop;
        let reading = reader.run(&keepalive, &self.metrics, self);
        // The welcome follows the claim, so the dialler sends its first request after the old connection has ended.
        let writing = async {
            match handshake::welcome(&mut writer).await {
                Ok(()) => write_all_of(&*self.answers, writer, &keepalive, &self.metrics, stop).await,
                Err(ended) => ended,
            }
        };
        // Only the dialler pings; the acceptor just detects the silence.
        let watching = keepalive.watch(shared.config.ping_every, shared.config.peer_timeout, || {});
        tokio::pin!(writing);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = replaced.cancelled() => return CloseCause::Replaced,
            ended = reading => return ended,
            ended = &mut writing => return ended,
            ended = watching => return ended,
        }
        timeout(shared.config.flush, writing)
            .await
            .unwrap_or(CloseCause::Stopped)
    }
}

impl FrameSink for IncomingConnection {
    fn receive(&self, frame: TransportFrame) -> Result<(), CloseCause> {
        let TransportFrame {
            kind,
            id,
            method,
            body,
        } = frame;
        let TransportHello { me, class, link, .. } = &self.hello;
        match kind {
            FrameKind::Call => {
                // Without a handler the responder is dropped, which the caller receives as a lost request.
                let reply = Responder::link(Arc::clone(&self.answers), id);
                if let Some(handler) = self.session.handler() {
                    handler.call(me.node, *class, method, body, reply);
                }
            }
            // A caller with an unverified id may make calls, but no casts, which belong to an ordered stream of a peer.
            FrameKind::Cast if !self.is_one_shot() => {
                if let Some(handler) = self.session.handler() {
                    handler.cast(me.node, *link, *class, method, body);
                }
            }
            FrameKind::Ping => self.answers.pong(),
            _ => return Err(CloseCause::Unexpected),
        }
        Ok(())
    }

    /// Backpressure: a peer that does not read its responses cannot send further requests.
    fn has_room(&self) -> impl Future<Output = bool> + Send {
        self.answers.has_room()
    }
}
