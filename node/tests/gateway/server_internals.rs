//! Comparison of the load test's view of the server's inside with a real node.

#[path = "../../../loadtest/src/server_internals.rs"]
mod assumed;

use std::sync::Arc;

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    ConnectionClass, ConnectionState, Handler, NodeIdentity, Responder, TcpTransport, Transport,
    TransportConfig,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use self::assumed::metric;
use node::testkit::{Node, PATIENCE};

/// Handler of a transport that receives nothing.
struct IgnoringHandler;

impl Handler for IgnoringHandler {
    fn call(&self, _: NodeId, _: ConnectionClass, _: u16, _: Bytes, _: Responder) {}

    fn cast(&self, _: NodeId, _: u64, _: ConnectionClass, _: u16, _: Bytes) {}

    fn link(&self, _: NodeId, _: ConnectionClass, _: ConnectionState) {}
}

#[tokio::test]
async fn load_test_metrics_are_published() {
    let node = Node::start().await;
    let mut client = node.client("alice").await;
    client
        .ask(1, r#"{"t":"send","id":1,"to":"bob","cid":"1","b":{}}"#)
        .await;
    let (_, text) = node.get("/metrics").await;
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    // A constant that is missing here is a warning of dead code, which the build refuses.
    for name in [
        metric::FSYNCS,
        metric::FSYNC_SECONDS_SUM,
        metric::FSYNC_SECONDS_COUNT,
        metric::FSYNC_ENABLED,
        metric::LOG_ENTRIES,
        metric::FREE_BYTES,
        metric::STORAGE_POISONED,
        metric::TAKEOVERS,
        metric::OWNED_SHARDS,
        metric::CLOCK_SKEW_MS,
        metric::SESSIONS,
        metric::QUERIES,
        metric::CURSORS_MOVED,
        metric::CURSOR_COMMANDS,
    ] {
        let found = series.iter().filter(|series| series.ends_with(name)).count();
        assert!(found > 0, "{name} in\n{text}");
    }
}

#[tokio::test]
async fn load_test_finds_the_storage_writer_thread() {
    let _node = Node::start().await;
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names: Vec<String> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.trim() == assumed::STORAGE_WRITER_THREAD),
        "{names:?}"
    );
}

#[tokio::test]
async fn load_test_reads_the_sender_of_a_hello() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = TcpTransport::bind(TransportConfig::default()).await.unwrap();
    let me = NodeIdentity {
        node: NodeId(0x0102_0304_0506_0708),
        cluster: 0x1112_1314_1516_1718,
        incarnation: 0x2122_2324_2526_2728,
        supported_level: cluster::FeatureLevel::SUPPORTED,
    };
    transport.start(me, Arc::new(IgnoringHandler));
    transport.set_peers(vec![(NodeId(2), listener.local_addr().unwrap().to_string())]);
    let (mut dialled, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
    let mut first = vec![0; assumed::HELLO_PREFIX];
    dialled.read_exact(&mut first).await.unwrap();
    assert_eq!(assumed::hello_sender(&first), Some(me.node.0), "{first:?}");
    first[assumed::FRAME_BODY] ^= 1;
    assert_eq!(assumed::hello_sender(&first), None, "no hello without its magic");
    transport.shutdown().await;
}
