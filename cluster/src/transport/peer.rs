//! Step 8, at the sender: the links to one peer, each lane dialled, served and dialled again.
//!
//! Before: [`lane`](super::lane) queues requests. After: [`listener`](super::listener) at the other node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::door::{Door, random_u64};
use super::endpoint::Shared;
use super::frame::{Batch, Frame, Kind};
use super::handshake::{self, Failed, MAX_BODY};
use super::hello::{self, Hello};
use super::lane::OutgoingLane;
use super::metrics::LaneMetrics;
use super::session::Session;
use super::wire::{Ended, FrameReader, Pulse, WriteHalf, write_all_of};
use super::{Error, Lane, LinkState};
use crate::types::NodeId;

/// A node that this one dials.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) addr: String,
    lanes: [Dialled; 4],
    stop: CancellationToken,
    /// Ends when no link to the peer is left.
    tasks: TaskTracker,
}

/// One lane's queue and what its task needs.
struct Dialled {
    lane: Lane,
    outgoing: Arc<OutgoingLane>,
    metrics: LaneMetrics,
    /// Rings when the peer has shown itself alive.
    kick: Notify,
}

/// A connection that both sides have agreed on.
pub(crate) struct Link {
    pub(crate) reader: FrameReader,
    writer: WriteHalf,
    incarnation: u64,
}

/// The pause between attempts: doubles, half of it drawn, so that peers do not return in step.
struct Backoff {
    next: Duration,
}

// === impl Peer ===

impl Peer {
    /// Begins to dial `node`, once the tasks of its `predecessors` have ended.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        node: NodeId,
        addr: String,
        predecessors: Vec<TaskTracker>,
    ) -> Arc<Peer> {
        let config = &shared.config;
        let lanes = Lane::ALL.map(|lane| {
            let metrics = shared.metrics.lane(node, lane);
            let outgoing = OutgoingLane::new(config.bounds.of(lane), config.max_body, metrics.clone());
            Dialled {
                lane,
                outgoing: Arc::new(outgoing),
                metrics,
                kick: Notify::new(),
            }
        });
        let peer = Arc::new(Peer {
            node,
            addr,
            lanes,
            stop: session.stop.child_token(),
            tasks: TaskTracker::new(),
        });
        for index in 0..peer.lanes.len() {
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
        shared: Arc<Shared>,
        session: Arc<Session>,
        predecessors: Vec<TaskTracker>,
    ) {
        for predecessor in predecessors {
            predecessor.wait().await;
        }
        self.lanes[index].run(&self, &shared, &session).await;
    }

    /// The peer's outgoing lane.
    pub(crate) fn lane(&self, lane: Lane) -> &Arc<OutgoingLane> {
        &self.lanes[lane as usize - 1].outgoing
    }

    /// Dials at once where a pause was on: the peer is known to be there.
    pub(crate) fn kick(&self) {
        self.lanes.iter().for_each(|lane| lane.kick.notify_one());
    }

    /// Ends every link; the returned tracker tells when they have ended.
    pub(crate) fn stop(&self) -> TaskTracker {
        self.stop.cancel();
        self.tasks.clone()
    }

    /// Refuses everything from now on and fails what is under way, before any task gets to run.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
        self.lanes.iter().for_each(|lane| lane.outgoing.close());
    }
}

// === impl Dialled ===

impl Dialled {
    async fn run(&self, peer: &Peer, shared: &Shared, session: &Session) {
        let config = &shared.config;
        let mut backoff = Backoff {
            next: config.backoff_min,
        };
        while !peer.stop.is_cancelled() {
            let connected = tokio::select! {
                biased;
                () = peer.stop.cancelled() => break,
                connected = connect(shared, session, &peer.addr, peer.node, self.lane) => connected,
            };
            match connected {
                Ok(link) => {
                    shared.complaints.accepted(&peer.addr);
                    backoff = Backoff {
                        next: config.backoff_min,
                    };
                    self.serve(peer, shared, session, link).await;
                }
                Err(Failed::Refused(refusal)) => {
                    shared.metrics.count_refused();
                    shared.complaints.refused(&peer.addr, refusal);
                }
                Err(Failed::NotAdmitted(verdict)) => {
                    shared.metrics.count_refused();
                    session.refused(peer.node, verdict);
                }
                Err(Failed::Ended(ended)) => {
                    debug!(peer = %peer.node, lane = %self.lane, reason = %ended, "peer not reached");
                }
            }
            tokio::select! {
                biased;
                () = peer.stop.cancelled() => break,
                () = self.kick.notified() => {}
                () = tokio::time::sleep(backoff.pause(config.backoff_max, &*shared.door)) => {}
            }
        }
        self.outgoing.close();
    }

    async fn serve(&self, peer: &Peer, shared: &Shared, session: &Session, link: Link) {
        let incarnation = link.incarnation;
        self.metrics.connects.inc();
        self.outgoing.connected();
        session.link(peer.node, self.lane, LinkState::Up(incarnation));
        let ended = self.exchange(shared, link, &peer.stop).await;
        self.outgoing.disconnected();
        session.link(peer.node, self.lane, LinkState::Down);
        match ended {
            Ended::Corrupt(_) | Ended::Unexpected => {
                if let Some(held_back) = shared.broken.due() {
                    warn!(peer = %peer.node, lane = %self.lane, reason = %ended, held_back, "link closed");
                }
            }
            _ => debug!(peer = %peer.node, lane = %self.lane, reason = %ended, "link down"),
        }
    }

    /// Moves frames until the connection ends.
    async fn exchange(&self, shared: &Shared, mut link: Link, stop: &CancellationToken) -> Ended {
        let pulse = Pulse::default();
        let reading = link
            .reader
            .run(&pulse, &self.metrics, None, |frame| self.handle(frame));
        let writing = write_all_of(&*self.outgoing, link.writer, &pulse, &self.metrics, stop);
        let watching = pulse.watch(shared.config.ping_every, shared.config.silence, || {
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
        timeout(shared.config.flush, writing)
            .await
            .unwrap_or(Ended::Stopped)
    }

    fn handle(&self, Frame { kind, id, body, .. }: Frame) -> Result<(), Ended> {
        match kind {
            Kind::Answer => self.outgoing.answered(id, Ok(body)),
            Kind::Refusal => self.outgoing.answered(id, Err(Error::Refused(body))),
            Kind::NoAnswer => self.outgoing.answered(id, Err(Error::Lost)),
            Kind::Pong => {}
            _ => return Err(Ended::Unexpected),
        }
        Ok(())
    }
}

/// Dials `addr` and shakes hands with whom `to` names (0: with whoever listens).
pub(crate) async fn connect(
    shared: &Shared,
    session: &Session,
    addr: &str,
    to: NodeId,
    lane: Lane,
) -> Result<Link, Failed> {
    let late = |_| Ended::Io(io::ErrorKind::TimedOut.into());
    let config = &shared.config;
    let socket = timeout(config.connect_timeout, shared.door.connect(addr))
        .await
        .map_err(late)?;
    let mut socket = socket.map_err(Ended::Io)?;
    let incarnation = random_u64(&*shared.door);
    let versions = (hello::VERSION, hello::OLDEST);
    let mut hello = Hello {
        versions,
        lane,
        me: session.me,
        to,
        link: incarnation,
        nonce: [0; 32],
    };
    shared.door.random(&mut hello.nonce);
    let mut reader = FrameReader::new(socket.reader, MAX_BODY);
    let admission = |peer| session.admission(peer);
    let shaking = handshake::dial(
        &mut reader,
        &mut socket.writer,
        &hello,
        &config.secret,
        &admission,
    );
    timeout(config.handshake_timeout, shaking).await.map_err(late)??;
    reader.set_max_body(config.max_body);
    Ok(Link {
        reader,
        writer: socket.writer,
        incarnation,
    })
}

// === impl Link ===

impl Link {
    /// Writes one batch.
    pub(crate) async fn send(&mut self, mut batch: Batch) -> io::Result<()> {
        for chunk in batch.finish() {
            self.writer.write_all(&chunk).await?;
        }
        Ok(())
    }
}

// === impl Backoff ===

impl Backoff {
    fn pause(&mut self, max: Duration, door: &dyn Door) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(max);
        let drawn = (random_u64(door) >> 40) as f64 / (1 << 24) as f64;
        pause.mul_f64(0.5 + drawn / 2.0)
    }
}
