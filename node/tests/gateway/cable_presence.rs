//! Presence of members in the extended protocol.

use serde_json::{Value, json};

use node::testkit::cable::{Cable, EXTENDED, chat};
use node::testkit::{Node, eventually};

/// The next presence message of a channel; other frames are passed over.
async fn presence(cable: &mut Cable) -> Value {
    loop {
        let frame = cable.next().await;
        if frame["type"] == "presence" {
            return frame["message"].clone();
        }
    }
}

#[tokio::test]
async fn members_come_and_go() {
    let node =
        Node::with(|config| config.presence.offline_grace = node::testkit::HumanDuration::millis(100)).await;
    let mut alice = node.client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": ["bob", "carol"]});
    let c = alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    bob.command("presence", &chat(&c), json!({})).await;
    assert_eq!(presence(&mut bob).await["type"], "error", "not subscribed yet");
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    for ignored in ["join", "leave"] {
        let fields = json!({"presence": {"id": "mallory", "info": {}}});
        bob.command(ignored, &chat(&c), fields).await;
    }
    bob.command("presence", &chat(&c), json!({})).await;
    let info = presence(&mut bob).await;
    assert_eq!(
        (&info["type"], &info["total"]),
        (&json!("info"), &json!(2)),
        "{info}"
    );
    let ids: Vec<&Value> = info["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["id"])
        .collect();
    assert_eq!(ids, ["alice", "bob"]);
    assert!(info["records"][0]["info"]["seen"].is_u64(), "{info}");

    let carol = Cable::of(node.addr(), EXTENDED, "carol").await;
    let join = presence(&mut bob).await;
    assert_eq!((&join["type"], &join["id"]), (&json!("join"), &json!("carol")));
    drop(carol);
    assert_eq!(presence(&mut bob).await, json!({"type": "leave", "id": "carol"}));

    let invite = json!({"t": "invite", "id": 2, "c": c, "cid": "dan", "who": "dan"});
    assert_eq!(alice.ask(2, &invite.to_string()).await["t"], "ack");
    let _dan = Cable::of(node.addr(), EXTENDED, "dan").await;
    let join = presence(&mut bob).await;
    assert_eq!((&join["type"], &join["id"]), (&json!("join"), &json!("dan")));
}

#[tokio::test]
async fn non_members_see_no_presence() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": ["bob"]});
    let c = alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut eve = Cable::of(node.addr(), EXTENDED, "eve").await;
    assert_eq!(eve.subscribe(&chat(&c)).await, "reject_subscription");
    eve.command("presence", &chat(&c), json!({})).await;
    assert_eq!(presence(&mut eve).await, json!({"type": "error"}));
    // A flood of requests is one request.
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    eventually("Bob is online", async || {
        bob.command("presence", &chat(&c), json!({})).await;
        presence(&mut bob).await["total"] == 2
    })
    .await;
}
