//! A node's end of the transport, whatever the network: who the peers are, and the tasks that serve them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::door::Door;
use super::frame::{Batch, Frame, Kind};
use super::handshake::Failed;
use super::listener::Incoming;
use super::peer::{self, Peer};
use super::session::{Complaints, Session};
use super::{Error, Handler, Identity, Lane, Metrics, Reply, Transport, TransportConfig};
use crate::seldom::Seldom;
use crate::types::NodeId;

/// How often it is logged that links are closed for what came by them.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A node's end of the transport; a cheap handle.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Shared>);

/// What all tasks of an endpoint share.
pub(crate) struct Shared {
    pub(crate) config: TransportConfig,
    pub(crate) door: Box<dyn Door>,
    pub(crate) metrics: Metrics,
    pub(crate) complaints: Complaints,
    /// Links that were closed for what came by them.
    pub(crate) broken: Seldom,
    pub(crate) incoming: Incoming,
    pub(crate) runtime: Handle,
    /// Every task; shutdown waits for it.
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    peers: ArcSwap<BTreeMap<NodeId, Arc<Peer>>>,
    control: Mutex<Control>,
}

/// What `start` and `set_peers` have asked for; the lock makes them one at a time.
#[derive(Default)]
struct Control {
    session: Option<Arc<Session>>,
    wanted: Vec<(NodeId, String)>,
    /// Forgotten peers whose tasks may still be ending.
    leaving: Vec<(NodeId, TaskTracker)>,
}

/// The ears of a node that is not started: nobody can reach them.
struct NoHandler;

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint whose tasks run on the current tokio runtime.
    pub(crate) fn new(config: TransportConfig, door: impl Door) -> Endpoint {
        Endpoint(Arc::new(Shared {
            config,
            door: Box::new(door),
            metrics: Metrics::default(),
            complaints: Complaints::default(),
            broken: Seldom::every(LOG_EVERY),
            incoming: Incoming::new(),
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            peers: ArcSwap::default(),
            control: Mutex::default(),
        }))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Ends as a killed process does: the handler hears nothing more, nothing is flushed.
    pub(crate) fn kill(&self) {
        let control = self.0.control.lock();
        if let Some(session) = &control.session {
            session.deafen();
        }
        self.0.stop.cancel();
        self.0.peers.load().values().for_each(|peer| peer.kill());
    }
}

impl Transport for Endpoint {
    fn start(&self, me: Identity, handler: Arc<dyn Handler>) {
        let shared = &self.0;
        let mut control = shared.control.lock();
        if shared.stop.is_cancelled() {
            return;
        }
        let session = Arc::new(Session::new(me, handler, shared.stop.child_token()));
        if let Some(before) = control.session.replace(session) {
            before.stop.cancel();
        }
        if let Some(acceptor) = shared.door.listen() {
            shared
                .tracker
                .spawn_on(Incoming::run(Arc::clone(shared), acceptor), &shared.runtime);
        }
        let before = shared.peers.swap(Arc::default());
        control.leave(before.values());
        shared.reconcile(&mut control);
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        let mut control = self.0.control.lock();
        control.wanted = peers;
        self.0.reconcile(&mut control);
    }

    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        match self.0.peers.load().get(&to) {
            Some(peer) => peer.lane(lane).call(method, body, deadline),
            None => Box::pin(future::ready(Err(self.0.no_such_peer()))),
        }
    }

    fn cast(&self, to: NodeId, lane: Lane, method: u16, body: Bytes) -> Result<(), Error> {
        match self.0.peers.load().get(&to) {
            Some(peer) => peer.lane(lane).cast(method, body),
            None => Err(self.0.no_such_peer()),
        }
    }

    fn call_addr(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        let (shared, addr) = (Arc::clone(&self.0), addr.to_owned());
        let expires = Instant::now() + deadline;
        Box::pin(async move {
            let mut sent = false;
            let visit = timeout_at(expires, shared.visit(&addr, method, body, &mut sent));
            let answered = tokio::select! {
                biased;
                () = shared.stop.cancelled() => None,
                answered = visit => Some(answered),
            };
            match answered {
                Some(Ok(answer)) => answer,
                Some(Err(_)) if sent => Err(Error::Timeout),
                Some(Err(_)) => Err(Error::Unreachable),
                None if sent => Err(Error::Lost),
                None => Err(Error::Closed),
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.0);
        {
            let _one_at_a_time = shared.control.lock();
            shared.stop.cancel();
            shared.tracker.close();
        }
        Box::pin(async move {
            shared.tracker.wait().await;
            shared.peers.store(Arc::default());
            *shared.control.lock() = Control::default();
            // Stops listening where `start` never began to.
            drop(shared.door.listen());
        })
    }
}

// === impl Shared ===

impl Shared {
    /// What the node is started as, if it is.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.control.lock().session.clone()
    }

    /// `peer` has just connected: dial it now if a pause was on.
    pub(crate) fn kick(&self, peer: NodeId) {
        if let Some(peer) = self.peers.load().get(&peer) {
            peer.kick();
        }
    }

    /// Makes the dialled peers those that are wanted.
    fn reconcile(self: &Arc<Self>, control: &mut Control) {
        let Some(session) = control.session.clone() else {
            return;
        };
        if self.stop.is_cancelled() {
            return;
        }
        control.leaving.retain(|(_, tasks)| !tasks.is_empty());
        let before = self.peers.load_full();
        let mut peers = BTreeMap::new();
        for (node, addr) in control.wanted.clone() {
            if node == session.me.node {
                continue;
            }
            let peer = match before.get(&node) {
                Some(peer) if peer.addr == addr => Arc::clone(peer),
                changed => {
                    control.leave(changed);
                    let predecessors = control.leaving.iter().filter(|(left, _)| *left == node);
                    let predecessors = predecessors.map(|(_, tasks)| tasks.clone()).collect();
                    Peer::start(self, &session, node, addr, predecessors)
                }
            };
            peers.insert(node, peer);
        }
        control.leave(before.values().filter(|peer| !peers.contains_key(&peer.node)));
        self.peers.store(Arc::new(peers));
        self.incoming.close_links(|peer| session.is_removed(peer));
    }

    fn no_such_peer(&self) -> Error {
        if self.stop.is_cancelled() || self.control.lock().session.is_none() {
            Error::Closed
        } else {
            Error::Unreachable
        }
    }

    /// One call on a connection of its own. Sets `sent` before the request can leave.
    async fn visit(&self, addr: &str, method: u16, body: Bytes, sent: &mut bool) -> Result<Bytes, Error> {
        if body.len() > self.config.max_body {
            return Err(Error::Full);
        }
        let session = self.session().unwrap_or_else(|| {
            let nobody = Identity {
                node: NodeId(0),
                cluster: 0,
                incarnation: 0,
            };
            Arc::new(Session::new(
                nobody,
                Arc::new(NoHandler),
                CancellationToken::new(),
            ))
        });
        let mut link = match peer::connect(self, &session, addr, NodeId(0), Lane::Rpc).await {
            Ok(link) => link,
            Err(failed) => {
                match failed {
                    Failed::Refused(refusal) => {
                        self.metrics.count_refused();
                        self.complaints.refused(addr, refusal);
                    }
                    failed => debug!(addr, reason = %failed, "address not reached"),
                }
                return Err(Error::Unreachable);
            }
        };
        self.complaints.accepted(addr);
        let mut batch = Batch::default();
        batch.push(Frame {
            kind: Kind::Call,
            id: 1,
            method,
            body,
        });
        *sent = true;
        link.send(batch).await.map_err(|_| Error::Lost)?;
        match link.reader.next().await {
            Ok(Frame {
                kind: Kind::Answer,
                body,
                ..
            }) => Ok(body),
            Ok(Frame {
                kind: Kind::Refusal,
                body,
                ..
            }) => Err(Error::Refused(body)),
            _ => Err(Error::Lost),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("peers", &self.0.peers.load().len())
            .finish_non_exhaustive()
    }
}

// === impl Control ===

impl Control {
    /// Stops these peers, and remembers them until they have stopped.
    fn leave<'a>(&mut self, peers: impl IntoIterator<Item = &'a Arc<Peer>>) {
        self.leaving
            .extend(peers.into_iter().map(|peer| (peer.node, peer.stop())));
    }
}

impl Handler for NoHandler {
    fn call(&self, _: NodeId, _: Lane, _: u16, _: Bytes, _: Reply) {}

    fn cast(&self, _: NodeId, _: u64, _: Lane, _: u16, _: Bytes) {}

    fn link(&self, _: NodeId, _: Lane, _: super::LinkState) {}
}
