//! Clients of Socket.IO on several nodes: recovery elsewhere, and polls that go to any node.

use std::net::SocketAddr;

use serde_json::json;

use node::testkit::session::say;
use node::testkit::{Call, Client, Node, PollingClient, SocketIoClient, TestCluster};

#[tokio::test]
async fn client_recovers_on_another_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = SocketIoClient::of(cluster.nodes[0].addr(), "bob").await;
    say(&mut alice, "bob", "first").await;
    bob.event("msg").await;
    for (round, node) in [1, 2, 0].into_iter().enumerate() {
        let (pid, offset) = (bob.pid.clone(), bob.offset.clone());
        drop(bob);
        say(&mut alice, "bob", &format!("missed {round}")).await;
        bob = SocketIoClient::open(cluster.nodes[node].addr()).await;
        let auth = json!({"token": "dev:bob", "pid": pid, "offset": offset});
        assert_eq!(bob.connect(auth).await["resumed"], true);
        assert_eq!(bob.pid, pid);
        say(&mut alice, "bob", &format!("live {round}")).await;
        for word in ["missed", "live"] {
            assert_eq!(bob.event("msg").await["cid"], format!("{word} {round}"));
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn requests_of_a_polling_client_go_to_any_node() {
    let cluster = TestCluster::start().await;
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(Node::addr).collect();
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = PollingClient::open(&addrs).await;
    bob.connect(json!({"token": "dev:bob"})).await;
    for round in 0..6 {
        say(&mut alice, "bob", &format!("m{round}")).await;
        assert_eq!(bob.event("msg").await["cid"], format!("m{round}"));
    }
    for ack in 0..6 {
        let send =
            json!(["send", {"to": "alice", "cid": format!("k{ack}"), "b": {"text": "x".repeat(10_000)}}]);
        bob.post(&format!("42{ack}{send}")).await;
        assert_eq!(bob.response(ack).await["t"], "ack");
    }
    // A body beyond the bound on unidentified data: the node asks the one that holds the connection first.
    let large = json!(["send", {"to": "alice", "cid": "large", "b": {"text": "x".repeat(40_000)}}]);
    for ack in 6..9 {
        bob.post(&format!("42{ack}{large}")).await;
        assert_eq!(bob.response(ack).await["code"], "too_large");
    }
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", bob.sid);
    let upgrade = Client::upgrade_at(addrs[1], &path, "", None).await;
    assert!(upgrade.head.starts_with("HTTP/1.1 400"), "{}", upgrade.head);
    bob.post("1").await;
    // The end is answered once, for a poll that came with it.
    bob.get().await;
    for addr in addrs {
        let poll = Call::new("GET", &bob.path).send(addr).await.unwrap();
        assert_eq!(poll.status, 400);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn polls_for_an_unknown_node_are_refused() {
    let cluster = TestCluster::start().await;
    let path = format!("/socket.io/?EIO=4&transport=polling&sid=63-{}", "0".repeat(32));
    let poll = Call::new("GET", &path).to(&cluster.nodes[0]).await;
    assert_eq!((poll.status, &poll.json()["code"]), (400, &json!(1)));
    cluster.stop().await;
}
