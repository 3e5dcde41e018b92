//! Step 8, at the receiver: incoming connections, from the handshake to the handler.
//!
//! A peer has at most one incoming link per lane: a newer one replaces the older, and speaks only after the older one
//! has ended, so that the handler sees one order.
//!
//! Before: [`peer`](super::peer) at the other node writes. After: the handler; in the cluster, [`crate::raft`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::answers::Answers;
use super::door::{Acceptor, Socket};
use super::endpoint::Shared;
use super::frame::{Frame, Kind};
use super::handshake::{self, Failed, MAX_BODY};
use super::hello::Hello;
use super::metrics::LaneMetrics;
use super::session::Session;
use super::wire::{Ended, FrameReader, Pulse, WriteHalf, write_all_of};
use super::{Lane, LinkState, Reply};
use crate::types::NodeId;

/// Connections that may be in their handshake at once; further ones are closed. Bounds what strangers can hold.
const HANDSHAKES: usize = 64;

/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The incoming links of a node.
#[derive(Debug)]
pub(crate) struct Incoming {
    links: Mutex<Links>,
    handshakes: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Links {
    current: BTreeMap<(NodeId, Lane), Current>,
    next_serial: u64,
}

#[derive(Clone, Debug)]
struct Current {
    serial: u64,
    replaced: CancellationToken,
    ended: CancellationToken,
}

/// The right to be a peer's incoming link on a lane; given back when dropped.
struct Claim<'a> {
    incoming: &'a Incoming,
    key: (NodeId, Lane),
    current: Current,
}

/// An incoming connection whose peer is known.
struct Link {
    hello: Hello,
    metrics: LaneMetrics,
    answers: Arc<Answers>,
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
    pub(crate) async fn run(shared: Arc<Shared>, mut acceptor: Box<dyn Acceptor>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                accepted = acceptor.accept() => accepted,
            };
            match (accepted, shared.session()) {
                (Ok(socket), Some(session)) => {
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
                (Ok(_), None) => {}
                (Err(error), _) => {
                    debug!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the links of these peers. A peer that dials again learns the reason in its handshake.
    pub(crate) fn close_links(&self, of: impl Fn(NodeId) -> bool) {
        for ((peer, _), current) in &self.links.lock().current {
            if of(*peer) {
                current.replaced.cancel();
            }
        }
    }

    /// Makes the caller the peer's link on the lane, once the one before has ended.
    async fn claim(&self, key: (NodeId, Lane)) -> Claim<'_> {
        let (claim, before) = {
            let mut links = self.links.lock();
            let serial = links.next_serial;
            links.next_serial += 1;
            let current = Current {
                serial,
                replaced: CancellationToken::new(),
                ended: CancellationToken::new(),
            };
            let before = links.current.insert(key, current.clone());
            (
                Claim {
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

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut links = self.incoming.links.lock();
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

/// One incoming connection, from its first byte to its last.
async fn serve(shared: Arc<Shared>, session: Arc<Session>, socket: Socket, permit: OwnedSemaphorePermit) {
    let Socket {
        reader,
        mut writer,
        from,
    } = socket;
    let mut reader = FrameReader::new(reader, MAX_BODY);
    let hello = tokio::select! {
        biased;
        () = session.stop.cancelled() => return,
        hello = examine(&shared, &session, &mut reader, &mut writer) => hello,
    };
    drop(permit);
    let hello = match hello {
        Ok(hello) => hello,
        Err(Failed::Refused(refusal)) => {
            shared.metrics.count_refused();
            // The port is another one each time.
            let host = from.rsplit_once(':').map_or(from.as_str(), |(host, _)| host);
            shared.complaints.refused(host, refusal);
            return;
        }
        Err(failed) => {
            debug!(from, reason = %failed, "handshake not finished");
            return;
        }
    };
    reader.set_max_body(shared.config.max_body);
    let (peer, lane, link) = (hello.me.node, hello.lane, hello.link);
    let answers = Answers::new(shared.config.bounds.of(lane), shared.config.max_body);
    let connection = Link {
        metrics: shared.metrics.lane(peer, lane),
        hello,
        answers,
    };

    if connection.is_visit() {
        connection
            .exchange(&shared, &session, reader, writer, &CancellationToken::new())
            .await;
        connection.answers.close();
        return;
    }
    let claim = shared.incoming.claim((peer, lane)).await;
    shared.kick(peer);
    session.incoming(peer, lane, LinkState::Up(link));
    let ended = connection
        .exchange(&shared, &session, reader, writer, &claim.current.replaced)
        .await;
    connection.answers.close();
    session.incoming(peer, lane, LinkState::Down);
    match ended {
        Ended::Corrupt(_) | Ended::Unexpected | Ended::Overflow => {
            if let Some(held_back) = shared.broken.due() {
                warn!(peer = %peer, lane = %lane, reason = %ended, held_back, "incoming link closed");
            }
        }
        _ => debug!(peer = %peer, lane = %lane, reason = %ended, "incoming link down"),
    }
}

async fn examine(
    shared: &Shared,
    session: &Session,
    reader: &mut FrameReader,
    writer: &mut WriteHalf,
) -> Result<Hello, Failed> {
    let mut nonce = [0; 32];
    shared.door.random(&mut nonce);
    let admission = |peer| session.admission(peer);
    let secret = &shared.config.secret;
    let examining = handshake::accept(reader, writer, session.me, nonce, secret, &admission);
    timeout(shared.config.handshake_timeout, examining)
        .await
        .map_err(|_| Ended::Io(io::ErrorKind::TimedOut.into()))?
}

// === impl Link ===

impl Link {
    /// One call from somebody who did not know who listens here.
    fn is_visit(&self) -> bool {
        self.hello.to == NodeId(0)
    }

    /// Welcomes the peer and moves frames until the connection ends.
    async fn exchange(
        &self,
        shared: &Shared,
        session: &Session,
        mut reader: FrameReader,
        mut writer: WriteHalf,
        replaced: &CancellationToken,
    ) -> Ended {
        let pulse = Pulse::default();
        let stop = &session.stop;
        let reading = reader.run(&pulse, &self.metrics, Some(&self.answers), |frame| {
            self.handle(session, frame)
        });
        let writing = async {
            match handshake::welcome(&mut writer).await {
                Ok(()) => write_all_of(&*self.answers, writer, &pulse, &self.metrics, stop).await,
                Err(ended) => ended,
            }
        };
        // The dialler asks for signs of life; here it is enough to listen for them.
        let watching = pulse.watch(shared.config.ping_every, shared.config.silence, || {});
        tokio::pin!(writing);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = replaced.cancelled() => return Ended::Replaced,
            ended = reading => return ended,
            ended = &mut writing => return ended,
            ended = watching => return ended,
        }
        timeout(shared.config.flush, writing)
            .await
            .unwrap_or(Ended::Stopped)
    }

    fn handle(&self, session: &Session, frame: Frame) -> Result<(), Ended> {
        let Frame {
            kind,
            id,
            method,
            body,
        } = frame;
        let Hello { me, lane, link, .. } = &self.hello;
        match kind {
            Kind::Call => session.call(
                me.node,
                *lane,
                method,
                body,
                Reply::link(Arc::clone(&self.answers), id),
            ),
            Kind::Cast if !self.is_visit() => session.cast(me.node, *link, *lane, method, body),
            Kind::Ping => self.answers.pong(),
            _ => return Err(Ended::Unexpected),
        }
        Ok(())
    }
}
