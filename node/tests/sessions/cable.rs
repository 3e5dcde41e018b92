//! ActionCable sessions that continue at another node.

use serde_json::{Value, json};

use node::testkit::cable::{Cable, EXTENDED, chat};
use node::testkit::{Client, TestCluster};

async fn say(alice: &mut Client, c: &str, cid: &str) -> u64 {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
    alice.ask(2, &send.to_string()).await["s"].as_u64().unwrap()
}

/// Reads the history behind `offset` and the events behind it, up to `last`.
async fn read_up_to(cable: &mut Cable, c: &str, offset: u64, last: u64) -> Vec<u64> {
    let history = json!({"history": {"streams": {c: {"epoch": "1", "offset": offset}}}});
    cable.command("history", &chat(c), history).await;
    let mut offsets = Vec::new();
    while offsets.last().is_none_or(|offset| *offset < last) {
        let frame = cable.next().await;
        offsets.extend(frame["offset"].as_u64());
    }
    offsets
}

/// The state of the gateway travels with the session, from node to node.
#[tokio::test]
async fn cable_session_is_restored_at_any_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": ["bob"]});
    let c = alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = "anycable-token.dev.bob";
    let mut bob = Cable::open(cluster.nodes[0].addr(), EXTENDED, token, "").await;
    let mut sid = bob.next().await["sid"].as_str().unwrap().to_owned();
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let mut last = 2;
    for (round, node) in [1, 2, 0].into_iter().enumerate() {
        drop(bob);
        let missed = say(&mut alice, &c, &format!("missed{round}")).await;
        let welcome;
        (bob, welcome) = Cable::restored(cluster.nodes[node].addr(), "bob", &sid).await;
        assert_eq!(welcome["restored_ids"], json!([chat(&c)]), "{welcome}");
        sid = welcome["sid"].as_str().unwrap().to_owned();
        let live = say(&mut alice, &c, &format!("live{round}")).await;
        assert_eq!(read_up_to(&mut bob, &c, last, live).await, [missed, live]);
        last = live;
    }
    // Another user who learnt the id gets a session of his own.
    let (_eve, welcome) = Cable::restored(cluster.nodes[1].addr(), "eve", &sid).await;
    assert_eq!(welcome["restored"], Value::Null, "{welcome}");
    cluster.stop().await;
}
