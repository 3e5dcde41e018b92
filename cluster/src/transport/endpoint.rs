//! Endpoint of a node's transport, independent of the network: the peers and the tasks that serve them.
//!
//! Path of a message: step 4 of 13.

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

use super::frame::{FrameBatch, FrameKind, TransportFrame};
use super::handshake::HandshakeError;
use super::io::NetworkIo;
use super::listener::Incoming;
use super::peer::{self, Peer};
use super::running_transport::{RefusalLog, RunningTransport};
use super::{ConnectionClass, Error, Handler, Metrics, NodeIdentity, Responder, Transport, TransportConfig};
use crate::ids::NodeId;
use crate::log_throttle::LogThrottle;

/// Minimum time between two log lines about connections closed for invalid frames.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Endpoint of a node's transport. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<EndpointShared>);

/// State shared by all tasks of an endpoint.
pub(crate) struct EndpointShared {
    pub(crate) config: TransportConfig,
    pub(crate) io: Box<dyn NetworkIo>,
    pub(crate) metrics: Metrics,
    pub(crate) refusal_log: RefusalLog,
    /// Throttle of warnings about connections closed for invalid frames.
    pub(crate) broken: LogThrottle,
    pub(crate) incoming: Incoming,
    pub(crate) runtime: Handle,
    /// Tracks every task; shutdown waits for all of them.
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    peers: ArcSwap<BTreeMap<NodeId, Arc<Peer>>>,
    control: Mutex<EndpointControl>,
}

/// Parameters of the last `start` and `set_peers`. The lock serializes both calls.
#[derive(Default)]
struct EndpointControl {
    session: Option<Arc<RunningTransport>>,
    wanted: Vec<(NodeId, String)>,
    /// Removed peers whose tasks may still be ending.
    removed_peers: Vec<(NodeId, TaskTracker)>,
}

/// Handler of an endpoint that is not started. No peer can reach it.
struct NoHandler;

// === impl Endpoint ===

impl Endpoint {
    /// Creates an endpoint whose tasks run on the current tokio runtime.
    pub(crate) fn new(config: TransportConfig, io: impl NetworkIo) -> Endpoint {
        Endpoint(Arc::new(EndpointShared {
            config,
            io: Box::new(io),
            metrics: Metrics::default(),
            refusal_log: RefusalLog::default(),
            broken: LogThrottle::every(LOG_EVERY),
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

    /// Ends as a killed process does: the handler is not called any more, and nothing is flushed.
    pub(crate) fn kill(&self) {
        let control = self.0.control.lock();
        // First of all: the handler of a dead process must not see its connections break.
        if let Some(session) = &control.session {
            session.stop_handler();
        }
        self.0.stop.cancel();
        self.0.peers.load().values().for_each(|peer| peer.kill());
    }
}

impl Transport for Endpoint {
    fn start(&self, me: NodeIdentity, handler: Arc<dyn Handler>) {
        let shared = &self.0;
        let mut control = shared.control.lock();
        // Under the lock that `shutdown` takes: once the tracker is closed, no task may be spawned.
        if shared.stop.is_cancelled() {
            return;
        }
        let session = Arc::new(RunningTransport::new(me, handler, shared.stop.child_token()));
        if let Some(before) = control.session.replace(session) {
            before.stop.cancel();
        }
        // `None` on a second start: the listener already runs and uses the new identity from now on.
        if let Some(acceptor) = shared.io.listen() {
            shared
                .tracker
                .spawn_on(Incoming::run(Arc::clone(shared), acceptor), &shared.runtime);
        }
        // Every connection was authenticated under the old identity.
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
        class: ConnectionClass,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        match self.0.peers.load().get(&to) {
            Some(peer) => peer.queue(class).call(method, body, deadline),
            None => Box::pin(future::ready(Err(self.0.no_such_peer()))),
        }
    }

    fn cast(&self, to: NodeId, class: ConnectionClass, method: u16, body: Bytes) -> Result<(), Error> {
        match self.0.peers.load().get(&to) {
            Some(peer) => peer.queue(class).cast(method, body),
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
            let one_shot_call = timeout_at(expires, shared.one_shot_call(&addr, method, body, &mut sent));
            let answered = tokio::select! {
                biased;
                // Biased: after the stop no response is awaited.
                () = shared.stop.cancelled() => None,
                answered = one_shot_call => Some(answered),
            };
            match answered {
                Some(Ok(answer)) => answer,
                // `sent` distinguishes a request that certainly did not leave from one with an unknown outcome.
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
            // Breaks the cycle of references between the peers and this state, and drops the handler.
            shared.peers.store(Arc::default());
            *shared.control.lock() = EndpointControl::default();
            // Stops the listener of an endpoint that was never started.
            drop(shared.io.listen());
        })
    }
}

// === impl EndpointShared ===

impl EndpointShared {
    /// Returns the running transport; `None` before the start.
    pub(crate) fn session(&self) -> Option<Arc<RunningTransport>> {
        self.control.lock().session.clone()
    }

    /// Dials `peer` immediately if a pause is running, because it has just connected.
    pub(crate) fn kick(&self, peer: NodeId) {
        if let Some(peer) = self.peers.load().get(&peer) {
            peer.kick();
        }
    }

    /// Starts and stops dialling, so that the dialled peers are those of the last `set_peers`.
    fn reconcile(self: &Arc<Self>, control: &mut EndpointControl) {
        let Some(session) = control.session.clone() else {
            return;
        };
        if self.stop.is_cancelled() {
            return;
        }
        control.removed_peers.retain(|(_, tasks)| !tasks.is_empty());
        let before = self.peers.load_full();
        let mut peers = BTreeMap::new();
        for (node, addr) in control.wanted.clone() {
            if node == session.me.node {
                continue;
            }
            let peer = match before.get(&node) {
                // An unchanged peer keeps its connections.
                Some(peer) if peer.addr == addr => Arc::clone(peer),
                changed => {
                    control.leave(changed);
                    // Also those of an earlier removal: a peer that returns quickly must not overtake its old
                    // connections.
                    let predecessors = control.removed_peers.iter().filter(|(left, _)| *left == node);
                    let predecessors = predecessors.map(|(_, tasks)| tasks.clone()).collect();
                    Peer::start(self, &session, node, addr, predecessors)
                }
            };
            peers.insert(node, peer);
        }
        control.leave(before.values().filter(|peer| !peers.contains_key(&peer.node)));
        self.peers.store(Arc::new(peers));
        // A removed peer dials this node, too. It reconnects when its connection is closed, and gets the reason in the
        // handshake.
        self.incoming
            .close_links(|peer| session.handler().is_some_and(|handler| handler.is_removed(peer)));
    }

    fn no_such_peer(&self) -> Error {
        if self.stop.is_cancelled() || self.control.lock().session.is_none() {
            Error::Closed
        } else {
            Error::Unreachable
        }
    }

    /// Makes one call on a connection of its own. Sets `sent` before the request can leave.
    async fn one_shot_call(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        sent: &mut bool,
    ) -> Result<Bytes, Error> {
        // Checked before a connection is made: the other side would close it at such a frame.
        if body.len() > self.config.max_body {
            return Err(Error::Full);
        }
        // Works before the start, as a node without id and cluster: that is how a node asks to join.
        let session = self.session().unwrap_or_else(|| {
            let without_cluster = NodeIdentity {
                node: NodeId(0),
                cluster: 0,
                incarnation: 0,
                supported_level: crate::ids::FeatureLevel::SUPPORTED,
            };
            Arc::new(RunningTransport::new(
                without_cluster,
                Arc::new(NoHandler),
                CancellationToken::new(),
            ))
        });
        let mut link = match peer::connect(self, &session, addr, NodeId(0), ConnectionClass::Rpc).await {
            Ok(link) => link,
            Err(failed) => {
                match failed {
                    HandshakeError::Refused(refusal) => {
                        self.metrics.count_refused();
                        self.refusal_log.refused(addr, refusal);
                    }
                    HandshakeError::Insecure(error) => {
                        self.metrics.count_refused();
                        self.refusal_log.insecure(addr, &error);
                    }
                    failed => debug!(addr, reason = %failed, "address unreachable"),
                }
                return Err(Error::Unreachable);
            }
        };
        self.refusal_log.accepted(addr);
        let mut batch = FrameBatch::default();
        batch.push(TransportFrame {
            kind: FrameKind::Call,
            id: 1,
            method,
            body,
        });
        // Before the write: a failed write may have sent the whole request.
        *sent = true;
        link.send(batch).await.map_err(|_| Error::Lost)?;
        match link.reader.next().await {
            Ok(TransportFrame {
                kind: FrameKind::Response,
                body,
                ..
            }) => Ok(body),
            Ok(TransportFrame {
                kind: FrameKind::Refusal,
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

// === impl EndpointControl ===

impl EndpointControl {
    /// Stops these peers and keeps their trackers until their tasks have ended.
    fn leave<'a>(&mut self, peers: impl IntoIterator<Item = &'a Arc<Peer>>) {
        self.removed_peers
            .extend(peers.into_iter().map(|peer| (peer.node, peer.stop())));
    }
}

impl Handler for NoHandler {
    fn call(&self, _: NodeId, _: ConnectionClass, _: u16, _: Bytes, _: Responder) {}

    fn cast(&self, _: NodeId, _: u64, _: ConnectionClass, _: u16, _: Bytes) {}

    fn link(&self, _: NodeId, _: ConnectionClass, _: super::ConnectionState) {}
}
