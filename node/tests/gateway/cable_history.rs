//! The extended protocol of AnyCable: history by offset and by time.

use serde_json::{Value, json};

use node::testkit::cable::{Cable, EXTENDED, INBOX, chat};
use node::testkit::{Client, Node};

/// Makes a group of Alice's with Bob and this many messages; returns it with Alice's client.
async fn group(node: &Node, messages: usize) -> (String, Client) {
    let mut alice = node.client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": ["bob"]});
    let made = alice.ask(1, &create.to_string()).await;
    let c = made["c"].as_str().unwrap().to_owned();
    for n in 0..messages {
        say(&mut alice, &c, &format!("m{n}")).await;
    }
    (c, alice)
}

async fn say(alice: &mut Client, c: &str, cid: &str) -> u64 {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
    alice.ask(2, &send.to_string()).await["s"].as_u64().unwrap()
}

/// Reads the offsets up to the end of a history, and returns them with its type.
async fn history(cable: &mut Cable) -> (Vec<u64>, Value) {
    let mut offsets = Vec::new();
    loop {
        let frame = cable.next().await;
        match frame["offset"].as_u64() {
            Some(offset) => offsets.push(offset),
            None if frame["type"] == "confirm_subscription" => {}
            None => return (offsets, frame["type"].clone()),
        }
    }
}

fn behind(c: &str, offset: u64) -> Value {
    json!({"history": {"streams": {c: {"epoch": "1", "offset": offset}}}})
}

#[tokio::test]
async fn history_follows_the_confirmation_and_joins_live_events() {
    let node = Node::with(|config| config.limits.sends_per_second = 10_000).await;
    let (c, mut alice) = group(&node, 230).await;
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    bob.command("subscribe", &chat(&c), behind(&c, 10)).await;
    let last = say(&mut alice, &c, "meanwhile").await;
    let (mut offsets, end) = history(&mut bob).await;
    assert_eq!(end, "confirm_history");
    // The last one comes with the history or behind it.
    if offsets.last() != Some(&last) {
        offsets.push(bob.message("msg").await["offset"].as_u64().unwrap());
    }
    assert_eq!(offsets, (11..=last).collect::<Vec<_>>());
    bob.is_silent(INBOX).await;
}

#[tokio::test]
async fn history_that_is_not_complete_is_rejected() {
    let node = Node::start().await;
    let (c, mut alice) = group(&node, 3).await;
    let other_epoch = json!({"history": {"streams": {&c: {"epoch": "9", "offset": 1}}}});
    for (cid, request) in [("first", other_epoch), ("second", behind(&c, 1_000_000))] {
        let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
        bob.command("subscribe", &chat(&c), request).await;
        assert_eq!(history(&mut bob).await, (vec![], json!("reject_history")));
        let s = say(&mut alice, &c, cid).await;
        assert_eq!(bob.message("msg").await["offset"], json!(s), "live events follow");
    }
}

#[tokio::test]
async fn history_by_time_begins_with_the_first_event_of_it() {
    let node = Node::start().await;
    let (c, mut alice) = group(&node, 3).await;
    let page = alice
        .ask(3, &json!({"t": "hist", "id": 3, "c": c}).to_string())
        .await;
    let times: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["ts"].as_u64().unwrap())
        .collect();
    for since in [
        0,
        times[0] / 1_000,
        times[2] / 1_000 + 1,
        times[0] / 1_000 + 3_600,
    ] {
        let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
        bob.command("subscribe", &chat(&c), json!({"history": {"since": since}}))
            .await;
        let expected: Vec<u64> = (1..)
            .zip(&times)
            .filter(|(_, ts)| **ts >= since * 1_000)
            .map(|(s, _)| s)
            .collect();
        assert_eq!(
            history(&mut bob).await,
            (expected, json!("confirm_history")),
            "since {since}"
        );
    }
}

#[tokio::test]
async fn unknown_session_is_a_plain_welcome() {
    let node = Node::start().await;
    for sid in ["nonsense", "1-00000000000000000000000000000000"] {
        let query = format!("?sid={sid}");
        let mut bob = Cable::open(node.addr(), EXTENDED, "anycable-token.dev.bob", &query).await;
        let welcome = bob.next().await;
        assert_eq!(
            (&welcome["type"], &welcome["restored"]),
            (&json!("welcome"), &Value::Null)
        );
    }
}
