//! A node under test: its transport, and a handler that remembers everything it hears.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    Error, Handler, Identity, Lane, LinkState, Reply, TcpTransport, Transport, TransportConfig,
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
pub(crate) enum Heard {
    Call(NodeId, Lane, u16, Bytes),
    Cast(NodeId, u64, Lane, u16, Bytes),
    Link(NodeId, Lane, LinkState),
    Incoming(NodeId, Lane, LinkState),
}

#[derive(Default)]
pub(crate) struct Ears {
    heard: Mutex<Vec<Heard>>,
    held: Mutex<Vec<Reply>>,
}

/// A node and its ears.
pub(crate) struct Node<T> {
    pub(crate) id: NodeId,
    pub(crate) transport: T,
    pub(crate) ears: Arc<Ears>,
}

/// Settings under which faults show soon.
pub(crate) fn quick() -> TransportConfig {
    TransportConfig {
        ping_every: Duration::from_millis(50),
        silence: Duration::from_millis(300),
        backoff_max: Duration::from_millis(100),
        secret: "a test secret".into(),
        ..TransportConfig::default()
    }
}

pub(crate) fn identity(id: u64) -> Identity {
    Identity {
        node: NodeId(id),
        cluster: CLUSTER,
        incarnation: id * 1000,
    }
}

/// A started node over TCP.
pub(crate) async fn tcp_node(id: u64, config: TransportConfig) -> Node<TcpTransport> {
    let node = Node::new(id, TcpTransport::bind(config).await.unwrap());
    node.transport.start(identity(id), node.ears.clone());
    node
}

/// Makes every node dial every other, and waits until all links are up.
pub(crate) async fn mesh(nodes: &[&Node<TcpTransport>]) {
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

// === impl Node ===

impl<T: Transport> Node<T> {
    pub(crate) fn new(id: u64, transport: T) -> Node<T> {
        Node {
            id: NodeId(id),
            transport,
            ears: Arc::default(),
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
            .call(NodeId(to), Lane::Rpc, method, body.into(), deadline)
            .await
    }

    /// Waits until all lanes to `peer` are up.
    pub(crate) async fn until_up(&self, peer: NodeId) {
        until("all lanes are up", || {
            Lane::ALL
                .iter()
                .all(|lane| matches!(self.ears.link(peer, *lane), Some(LinkState::Up(_))))
        })
        .await;
    }

    /// Waits until all lanes to `peer` are down.
    pub(crate) async fn until_down(&self, peer: NodeId) {
        until("all lanes are down", || {
            Lane::ALL
                .iter()
                .all(|lane| self.ears.link(peer, *lane) == Some(LinkState::Down))
        })
        .await;
    }
}

impl Node<TcpTransport> {
    pub(crate) fn addr(&self) -> String {
        self.transport.local_addr().to_string()
    }
}

// === impl Ears ===

impl Ears {
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    /// The state that was last told of the outgoing lane to `peer`.
    pub(crate) fn link(&self, peer: NodeId, lane: Lane) -> Option<LinkState> {
        self.links(peer, lane).last().copied()
    }

    /// Every state that was told of the outgoing lane to `peer`.
    pub(crate) fn links(&self, peer: NodeId, lane: Lane) -> Vec<LinkState> {
        let fits = |heard: &Heard| match heard {
            Heard::Link(p, l, state) if (*p, *l) == (peer, lane) => Some(*state),
            _ => None,
        };
        self.heard.lock().iter().filter_map(fits).collect()
    }

    /// Links and bodies of all casts on `lane`.
    pub(crate) fn casts(&self, lane: Lane) -> Vec<(u64, Bytes)> {
        let fits = |heard: &Heard| match heard {
            Heard::Cast(_, link, l, _, body) if *l == lane => Some((*link, body.clone())),
            _ => None,
        };
        self.heard.lock().iter().filter_map(fits).collect()
    }

    /// How many calls wait for an answer that does not come.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().len()
    }
}

impl Handler for Ears {
    fn call(&self, from: NodeId, lane: Lane, method: u16, body: Bytes, reply: Reply) {
        self.heard
            .lock()
            .push(Heard::Call(from, lane, method, body.clone()));
        match method {
            ECHO => reply.send(Ok(body)),
            REFUSE => reply.send(Err(body)),
            HOLD => self.held.lock().push(reply),
            FORGET => drop(reply),
            other => panic!("no such method: {other}"),
        }
    }

    fn cast(&self, from: NodeId, link: u64, lane: Lane, method: u16, body: Bytes) {
        self.heard
            .lock()
            .push(Heard::Cast(from, link, lane, method, body));
    }

    fn link(&self, peer: NodeId, lane: Lane, state: LinkState) {
        self.heard.lock().push(Heard::Link(peer, lane, state));
    }

    fn incoming(&self, peer: NodeId, lane: Lane, state: LinkState) {
        self.heard.lock().push(Heard::Incoming(peer, lane, state));
    }
}
