//! A node under test: its transport, and a handler that remembers everything it hears.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    ConnectionClass, ConnectionState, Error, Handler, NodeIdentity, Responder, TcpTransport, Transport,
    TransportConfig,
};
use parking_lot::Mutex;

/// Methods of the [`Ears`], by what they do with the call.
pub(crate) const ECHO: u16 = 1;
pub(crate) const REFUSE: u16 = 2;
pub(crate) const HOLD: u16 = 3;
pub(crate) const FORGET: u16 = 4;

pub(crate) const CLUSTER: u64 = 77;

/// Long enough that only a call that is never answered meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a handler heard, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    Call(NodeId, ConnectionClass, u16, Bytes),
    Cast(NodeId, u64, ConnectionClass, u16, Bytes),
    Link(NodeId, ConnectionClass, ConnectionState),
    Incoming(NodeId, ConnectionClass, ConnectionState),
}

#[derive(Default)]
pub(crate) struct RecordingHandler {
    received: Mutex<Vec<Received>>,
    held: Mutex<Vec<Responder>>,
}

/// A node and its ears.
pub(crate) struct TestNode<T> {
    pub(crate) id: NodeId,
    pub(crate) transport: T,
    pub(crate) handler: Arc<RecordingHandler>,
}

/// Settings under which faults show soon.
pub(crate) fn quick() -> TransportConfig {
    TransportConfig {
        ping_every: Duration::from_millis(50),
        peer_timeout: Duration::from_millis(300),
        backoff_max: Duration::from_millis(100),
        secret: "a test secret".into(),
        ..TransportConfig::default()
    }
}

pub(crate) fn identity(id: u64) -> NodeIdentity {
    NodeIdentity {
        node: NodeId(id),
        cluster: CLUSTER,
        incarnation: id * 1000,
        supported_level: cluster::FeatureLevel::SUPPORTED,
    }
}

/// A started node over TCP.
pub(crate) async fn tcp_node(id: u64, config: TransportConfig) -> TestNode<TcpTransport> {
    let node = TestNode::new(id, TcpTransport::bind(config).await.unwrap());
    node.transport.start(identity(id), node.handler.clone());
    node
}

/// Makes every node dial every other, and waits until all links are up.
pub(crate) async fn mesh(nodes: &[&TestNode<TcpTransport>]) {
    let peers: Vec<_> = nodes.iter().map(|node| (node.id, node.addr())).collect();
    for node in nodes {
        node.transport.set_peers(peers.clone());
    }
    for node in nodes {
        for peer in nodes.iter().filter(|peer| peer.id != node.id) {
            node.until_up(peer.id).await;
        }
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "waited in vain until {what}"
    );
}

// === impl TestNode ===

impl<T: Transport> TestNode<T> {
    pub(crate) fn new(id: u64, transport: T) -> TestNode<T> {
        TestNode {
            id: NodeId(id),
            transport,
            handler: Arc::default(),
        }
    }

    pub(crate) async fn call(
        &self,
        to: u64,
        method: u16,
        body: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        self.transport
            .call(NodeId(to), ConnectionClass::Rpc, method, body.into(), deadline)
            .await
    }

    /// Waits until all lanes to `peer` are up.
    pub(crate) async fn until_up(&self, peer: NodeId) {
        until("all lanes are up", || {
            ConnectionClass::ALL
                .iter()
                .all(|class| matches!(self.handler.link(peer, *class), Some(ConnectionState::Up(_))))
        })
        .await;
    }

    /// Waits until all lanes to `peer` are down.
    pub(crate) async fn until_down(&self, peer: NodeId) {
        until("all lanes are down", || {
            ConnectionClass::ALL
                .iter()
                .all(|class| self.handler.link(peer, *class) == Some(ConnectionState::Down))
        })
        .await;
    }
}

impl TestNode<TcpTransport> {
    pub(crate) fn addr(&self) -> String {
        self.transport.local_addr().to_string()
    }
}

// === impl RecordingHandler ===

impl RecordingHandler {
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// The state that was last told of the outgoing lane to `peer`.
    pub(crate) fn link(&self, peer: NodeId, class: ConnectionClass) -> Option<ConnectionState> {
        self.links(peer, class).last().copied()
    }

    /// Every state that was told of the outgoing lane to `peer`.
    pub(crate) fn links(&self, peer: NodeId, class: ConnectionClass) -> Vec<ConnectionState> {
        let fits = |received: &Received| match received {
            Received::Link(p, l, state) if (*p, *l) == (peer, class) => Some(*state),
            _ => None,
        };
        self.received.lock().iter().filter_map(fits).collect()
    }

    /// Links and bodies of all casts on `lane`.
    pub(crate) fn casts(&self, class: ConnectionClass) -> Vec<(u64, Bytes)> {
        let fits = |received: &Received| match received {
            Received::Cast(_, link, l, _, body) if *l == class => Some((*link, body.clone())),
            _ => None,
        };
        self.received.lock().iter().filter_map(fits).collect()
    }

    /// How many calls wait for an answer that does not come.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().len()
    }
}

impl Handler for RecordingHandler {
    fn call(&self, from: NodeId, class: ConnectionClass, method: u16, body: Bytes, reply: Responder) {
        self.received
            .lock()
            .push(Received::Call(from, class, method, body.clone()));
        match method {
            ECHO => reply.send(Ok(body)),
            REFUSE => reply.send(Err(body)),
            HOLD => self.held.lock().push(reply),
            FORGET => drop(reply),
            other => panic!("no such method: {other}"),
        }
    }

    fn cast(&self, from: NodeId, link: u64, class: ConnectionClass, method: u16, body: Bytes) {
        self.received
            .lock()
            .push(Received::Cast(from, link, class, method, body));
    }

    fn link(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        self.received.lock().push(Received::Link(peer, class, state));
    }

    fn incoming(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        self.received.lock().push(Received::Incoming(peer, class, state));
    }
}
