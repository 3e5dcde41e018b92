//! Those who listen without a WebSocket, on another node than before.

use serde_json::{Value, json};

use node::testkit::session::say;
use node::testkit::{Client, Node, Stream, TestCluster};

const BOB: &str = "Authorization: Bearer dev:bob\r\n";

async fn poll(node: &Node, query: &str) -> Value {
    let (status, body) = node.request(&format!("/v1/poll?device=phone&{query}"), BOB).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn an_event_stream_goes_on_at_another_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut bob = Stream::of(cluster.nodes[0].addr(), "bob", None).await;
    bob.expect("ready").await;
    say(&mut alice, "bob", "hello").await;
    bob.expect("conv").await;
    let mut last = bob.expect("msg").await.id;
    for (round, node) in [1, 2, 0, 1].into_iter().enumerate() {
        drop(bob);
        say(&mut alice, "bob", &format!("a{round}")).await;
        bob = Stream::of(cluster.nodes[node].addr(), "bob", Some(&last)).await;
        assert_eq!(bob.expect("ready").await.data["resumed"], true);
        say(&mut alice, "bob", &format!("b{round}")).await;
        for text in ["a", "b"] {
            let message = bob.expect("msg").await;
            assert_eq!(message.data["cid"], format!("{text}{round}"));
            last = message.id;
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_poll_goes_on_at_another_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let begun = poll(&cluster.nodes[0], "").await;
    let (mut sid, mut after) = (begun["sid"].as_str().unwrap().to_owned(), 0);
    let mut seen = Vec::new();
    for round in 0..8 {
        say(&mut alice, "bob", &format!("m{round}")).await;
        let expected = round + 2;
        while seen.len() < expected {
            let node = &cluster.nodes[[1, 1, 2, 0][seen.len() % 4]];
            let answer = poll(node, &format!("sid={sid}&after={after}&wait=5")).await;
            assert_eq!(answer["resumed"], true, "{answer}");
            for event in answer["events"].as_array().unwrap() {
                after += 1;
                assert_eq!(event["n"], after, "{answer}");
                seen.push(event["cid"].clone());
            }
            assert_eq!(answer["n"], after);
            answer["sid"].as_str().unwrap().clone_into(&mut sid);
        }
    }
    let messages: Vec<_> = (0..8).map(|round| json!(format!("m{round}"))).collect();
    assert_eq!((&seen[0], &seen[1..]), (&Value::Null, &messages[..]));
    // And on to a WebSocket.
    let headers = format!("{BOB}X-Device: phone\r\nX-Resume: {sid}:{after}\r\n");
    let mut bob = Client::upgrade(cluster.nodes[2].addr(), &headers, None).await;
    assert_eq!(bob.expect("ready").await["resumed"], true);
    cluster.stop().await;
}
