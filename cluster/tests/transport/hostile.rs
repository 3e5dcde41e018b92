//! Peers over TCP that are strangers, broken, or silent.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    ConnectionClass, ConnectionState, Error, NodeIdentity, TcpTransport, Transport, TransportConfig,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::node::{ECHO, HOLD, PATIENCE, TestNode, identity, mesh, quick, tcp_node, until};
use crate::proxy::Proxy;

/// Log lines of WARN and above.
#[derive(Clone, Default)]
pub(crate) struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogBuffer {
    /// Collects what this thread logs while the guard lives.
    pub(crate) fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn lines(&self, containing: &str) -> usize {
        String::from_utf8(self.0.lock().clone())
            .unwrap()
            .lines()
            .filter(|line| line.contains(containing))
            .count()
    }
}

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Node 1 linked to node 2 through a proxy.
async fn through_a_proxy() -> (TestNode<TcpTransport>, TestNode<TcpTransport>, Proxy) {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    let (proxy, addr) = Proxy::start(two.addr()).await;
    one.transport.set_peers(vec![(NodeId(2), addr)]);
    one.until_up(NodeId(2)).await;
    (one, two, proxy)
}

#[tokio::test]
async fn peer_with_another_secret_is_refused_and_logged_once() {
    let log = LogBuffer::default();
    let _guard = log.collect();
    let one = tcp_node(1, quick()).await;
    let two = tcp_node(
        2,
        TransportConfig {
            secret: "another".into(),
            ..quick()
        },
    )
    .await;
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("it was said", || log.lines("cluster secrets differ") > 0).await;
    // Several more attempts on four lanes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.lines("handshake refused"), 1);
    assert_eq!(one.handler.received(), []);
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(two.handler.received(), []);
}

#[tokio::test]
async fn peer_of_another_cluster_is_refused_and_logged_once() {
    let log = LogBuffer::default();
    let _guard = log.collect();
    let one = tcp_node(1, quick()).await;
    let two = TestNode::new(2, TcpTransport::bind(quick()).await.unwrap());
    two.transport.start(
        NodeIdentity {
            cluster: 1,
            ..identity(2)
        },
        two.handler.clone(),
    );
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("it was said", || log.lines("another cluster") > 0).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.lines("handshake refused"), 2);
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(two.handler.received(), []);
    // Nor may it visit.
    let visit = one.transport.call_addr(&two.addr(), ECHO, Bytes::new(), PATIENCE);
    assert_eq!(visit.await, Err(Error::Unreachable));
}

#[tokio::test]
async fn flipped_bit_closes_the_connection_and_is_never_delivered() {
    let (one, two, proxy) = through_a_proxy().await;
    proxy.bend(|bytes| *bytes.last_mut().unwrap() ^= 1);
    // The next bytes may be a ping of any lane; a cast on each makes sure that something is bent.
    for class in ConnectionClass::ALL {
        one.transport.cast(NodeId(2), class, 1, "body".into()).unwrap();
    }
    let broken = || {
        ConnectionClass::ALL
            .into_iter()
            .find(|class| one.handler.links(NodeId(2), *class).len() >= 3)
    };
    until("a lane breaks and returns", || broken().is_some()).await;
    let class = broken().unwrap();
    let [
        ConnectionState::Up(first),
        ConnectionState::Down,
        ConnectionState::Up(second),
    ] = one.handler.links(NodeId(2), class)[..3]
    else {
        panic!("links do not alternate");
    };
    assert_ne!(first, second);
    for class in ConnectionClass::ALL {
        assert!(two.handler.casts(class).iter().all(|(_, body)| body == "body"));
    }
}

#[tokio::test]
async fn huge_length_closes_the_connection() {
    let (one, _two, proxy) = through_a_proxy().await;
    proxy.bend(|bytes| bytes[..4].copy_from_slice(&u32::MAX.to_be_bytes()));
    let broken = || {
        ConnectionClass::ALL
            .iter()
            .any(|class| one.handler.links(NodeId(2), *class).len() >= 3)
    };
    until("a lane breaks and returns", broken).await;
}

#[tokio::test]
async fn foreign_bytes_are_refused_without_harm() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    for bytes in [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        vec![0xff; 100],
        vec![0; 100],
        [&100_u32.to_be_bytes()[..], &[7; 104]].concat(),
    ] {
        let mut stream = TcpStream::connect(two.addr()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "connection left open after {bytes:?}");
    }
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Ok("x".into()));
}

#[tokio::test]
async fn peer_that_accepts_and_never_speaks_gets_no_link() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = TransportConfig {
        handshake_timeout: Duration::from_millis(100),
        ..quick()
    };
    let one = tcp_node(1, config).await;
    one.transport
        .set_peers(vec![(NodeId(2), deaf.local_addr().unwrap().to_string())]);
    let (_held, _) = deaf.accept().await.unwrap();
    // It gives up and tries again.
    let (_held_too, _) = deaf.accept().await.unwrap();
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(one.handler.received(), []);
}

#[tokio::test]
async fn link_into_a_black_hole_times_out_calls_and_goes_down() {
    let (one, two, proxy) = through_a_proxy().await;
    proxy.black_hole(true);
    assert_eq!(
        one.call(2, ECHO, "x", Duration::from_millis(30)).await,
        Err(Error::Timeout)
    );
    let waiting = one.call(2, ECHO, "x", PATIENCE).await;
    assert_eq!(waiting, Err(Error::Lost));
    one.until_down(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert!(two.handler.casts(ConnectionClass::Rpc).is_empty());

    proxy.black_hole(false);
    one.until_up(NodeId(2)).await;
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Ok("x".into()));
}

#[tokio::test]
async fn idle_link_stays_up() {
    let (one, two) = (tcp_node(1, quick()).await, tcp_node(2, quick()).await);
    mesh(&[&one, &two]).await;
    // A call that is answered late keeps one direction quiet for longer than the silence allows.
    let late = one.transport.call(
        NodeId(2),
        ConnectionClass::Rpc,
        HOLD,
        "x".into(),
        quick().peer_timeout * 3,
    );
    assert_eq!(late.await, Err(Error::Timeout));
    for class in ConnectionClass::ALL {
        assert_eq!(one.handler.links(NodeId(2), class).len(), 1, "{class}");
        assert_eq!(two.handler.links(NodeId(1), class).len(), 1, "{class}");
    }
}
