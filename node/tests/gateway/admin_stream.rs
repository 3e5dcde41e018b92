//! The stream of overviews: who gets it, what it has, how many may follow it, and when it ends.

use std::net::SocketAddr;

use node::testkit::{Node, Stream, TestCluster, eventually};
use serde_json::Value;

const READ: &str = "a-token-that-reads-in-tests";
const PATH: &str = "/v1/admin/stream";

async fn node() -> Node {
    Node::with(|config| {
        config.server.admin = "127.0.0.1:0".to_owned();
        config.server.admin_token.0 = format!("read:monitor:{READ}");
    })
    .await
}

async fn follow(addr: SocketAddr) -> Stream {
    Stream::request(addr, PATH, &format!("Authorization: Bearer {READ}\r\n"), None).await
}

#[tokio::test]
async fn overviews_are_streamed_to_operators_until_the_node_stops() {
    let node = node().await;
    let refused = Stream::request(node.admin_addr(), PATH, "", None).await;
    assert!(refused.head.starts_with("HTTP/1.1 401"), "{}", refused.head);
    let mut stream = follow(node.admin_addr()).await;
    assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
    let uptime = |overview: &Value| overview["nodes"][0]["report"]["uptime_ms"].as_u64().unwrap();
    let first = stream.expect("overview").await.data;
    let second = stream.expect("overview").await.data;
    assert!(uptime(&second) > uptime(&first), "each is a new one");
    assert_eq!(
        (&first["node"], first["shards"].as_array().unwrap().len()),
        (&second["node"], second["shards"].as_array().unwrap().len()),
        "each is whole"
    );
    // A second follower shares the feed, and the first overview does not wait for the next second.
    let mut other = follow(node.admin_addr()).await;
    other.expect("overview").await;
    let (_data, ()) = tokio::join!(node.stop(), async {
        while stream.next().await.is_some() {}
        while other.next().await.is_some() {}
    });
}

#[tokio::test]
async fn followers_are_bounded_and_a_closed_stream_makes_room() {
    let node = node().await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = follow(node.admin_addr()).await;
        stream.expect("overview").await;
        streams.push(stream);
    }
    let full = follow(node.admin_addr()).await;
    assert!(full.head.starts_with("HTTP/1.1 503"), "{}", full.head);
    streams.pop();
    eventually("a place is free", async || {
        let stream = follow(node.admin_addr()).await;
        stream.head.starts_with("HTTP/1.1 200")
    })
    .await;
    drop(streams);
    node.stop().await;
}

#[tokio::test]
async fn any_node_streams_what_all_nodes_report() {
    let cluster = TestCluster::start().await;
    for node in &cluster.nodes {
        let mut stream = Stream::request(node.addr(), PATH, "", None).await;
        loop {
            let overview = stream.expect("overview").await.data;
            let nodes = overview["nodes"].as_array().unwrap();
            if nodes.len() == 3 && nodes.iter().all(|node| node["report"].is_object()) {
                break;
            }
        }
    }
    cluster.stop().await;
}
