//! Sessions of the extended protocol that a later connection continues.

use serde_json::{Value, json};

use node::testkit::cable::{BASE, Cable, EXTENDED, INBOX, chat};
use node::testkit::{Client, Node};

const NOTHING: [u64; 0] = [];

/// Makes a group of Alice's with Bob.
async fn group(alice: &mut Client, cid: &str) -> String {
    let create = json!({"t": "create", "id": 1, "cid": cid, "kind": "group", "members": ["bob"]});
    alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn say(alice: &mut Client, c: &str, cid: &str) -> u64 {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
    alice.ask(2, &send.to_string()).await["s"].as_u64().unwrap()
}

/// Opens Bob's connection; returns it with the id of its session.
async fn welcomed(node: &Node) -> (Cable, String) {
    let mut bob = Cable::open(node.addr(), EXTENDED, "anycable-token.dev.bob", "").await;
    let welcome = bob.next().await;
    let sid = welcome["sid"].as_str().unwrap().to_owned();
    (bob, sid)
}

/// Reads the history behind `offset`, and returns its offsets.
async fn behind(bob: &mut Cable, c: &str, offset: u64) -> Vec<u64> {
    let history = json!({"history": {"streams": {c: {"epoch": "1", "offset": offset}}}});
    bob.command("history", &chat(c), history).await;
    let mut offsets = Vec::new();
    loop {
        let frame = bob.next().await;
        match frame["offset"].as_u64() {
            Some(offset) => offsets.push(offset),
            None => {
                assert_eq!(frame["type"], "confirm_history", "{frame}");
                return offsets;
            }
        }
    }
}

#[tokio::test]
async fn restored_connection_misses_nothing_and_repeats_nothing() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let (first, second) = (group(&mut alice, "one").await, group(&mut alice, "two").await);
    let (mut bob, sid) = welcomed(&node).await;
    for c in [&first, &second] {
        assert_eq!(bob.subscribe(&chat(c)).await, "confirm_subscription");
    }
    let seen = say(&mut alice, &first, "seen").await;
    assert_eq!(bob.message("msg").await["offset"], json!(seen));
    drop(bob);
    let missed = say(&mut alice, &first, "missed").await;

    let (mut bob, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
    assert_eq!(welcome["restored"], true, "{welcome}");
    assert_eq!(welcome["restored_ids"], json!([chat(&first), chat(&second)]));
    assert_ne!(welcome["sid"], json!(sid));
    assert_eq!(behind(&mut bob, &first, seen).await, [missed]);
    assert_eq!(behind(&mut bob, &second, 2).await, NOTHING);
    for c in [&first, &second] {
        let live = say(&mut alice, c, "live").await;
        assert_eq!(bob.message("msg").await["offset"], json!(live));
    }
    bob.is_silent(INBOX).await;
}

#[tokio::test]
async fn restored_ids_are_those_still_allowed() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let (stays, ends) = (group(&mut alice, "one").await, group(&mut alice, "two").await);
    let left = group(&mut alice, "three").await;
    let (mut bob, sid) = welcomed(&node).await;
    for c in [&stays, &ends, &left] {
        assert_eq!(bob.subscribe(&chat(c)).await, "confirm_subscription");
    }
    bob.command("unsubscribe", &chat(&left), json!({})).await;
    assert_eq!(bob.subscribe(INBOX).await, "confirm_subscription");
    drop(bob);
    let kick = json!({"t": "kick", "id": 3, "c": ends, "cid": "kick", "who": "bob"});
    assert_eq!(alice.ask(3, &kick.to_string()).await["t"], "ack");
    say(&mut alice, &ends, "secret").await;

    let (mut bob, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
    assert_eq!(welcome["restored_ids"], json!([chat(&stays)]), "{welcome}");
    assert_eq!(bob.subscribe(&chat(&ends)).await, "reject_subscription");
    bob.is_silent(INBOX).await;
}

#[tokio::test]
async fn session_is_restored_again_after_each_cut() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let c = group(&mut alice, "one").await;
    let (mut bob, mut sid) = welcomed(&node).await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let mut last = 2;
    for round in 0..3 {
        drop(bob);
        let missed = say(&mut alice, &c, &format!("m{round}")).await;
        let welcome;
        (bob, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
        assert_eq!(welcome["restored_ids"], json!([chat(&c)]), "round {round}");
        assert_eq!(behind(&mut bob, &c, last).await, [missed]);
        (last, sid) = (missed, welcome["sid"].as_str().unwrap().to_owned());
    }
}

/// A welcome that is lost with its connection leaves the client with the id of the session before.
#[tokio::test]
async fn session_is_restorable_until_the_client_uses_its_successor() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let c = group(&mut alice, "one").await;
    let (mut bob, sid) = welcomed(&node).await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    drop(bob);
    let missed = say(&mut alice, &c, "missed").await;
    for round in 0..3 {
        let (_lost, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
        assert_eq!(
            welcome["restored_ids"],
            json!([chat(&c)]),
            "round {round}: {welcome}"
        );
    }
    let (mut bob, _welcome) = Cable::restored(node.addr(), "bob", &sid).await;
    assert_eq!(behind(&mut bob, &c, 2).await, [missed]);
    let (_late, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
    assert_eq!(welcome["restored"], Value::Null, "{welcome}");
    let live = say(&mut alice, &c, "live").await;
    assert_eq!(bob.message("msg").await["offset"], json!(live));
}

#[tokio::test]
async fn foreign_and_malformed_sessions_are_not_restored() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let c = group(&mut alice, "one").await;
    let (mut bob, sid) = welcomed(&node).await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let huge = "a".repeat(4_000);
    for (user, point) in [
        ("eve", &*sid),
        ("alice", &*sid),
        ("bob", "nonsense"),
        ("bob", "1:1"),
        ("bob", &*huge),
    ] {
        let (_cable, welcome) = Cable::restored(node.addr(), user, point).await;
        assert_eq!(welcome["restored"], Value::Null, "{user} {welcome}");
    }
    // The connection of the session itself is untouched.
    let live = say(&mut alice, &c, "live").await;
    assert_eq!(bob.message("msg").await["offset"], json!(live));

    // Clients of the base protocol have no session to continue.
    let query = format!("?sid={sid}");
    let mut base = Cable::open(node.addr(), BASE, "anycable-token.dev.bob", &query).await;
    assert_eq!(base.next().await, json!({"type": "welcome"}));
}

#[tokio::test]
async fn restore_takes_over_from_an_open_connection() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    let c = group(&mut alice, "one").await;
    let (mut old, sid) = welcomed(&node).await;
    assert_eq!(old.subscribe(&chat(&c)).await, "confirm_subscription");
    let (mut bob, welcome) = Cable::restored(node.addr(), "bob", &sid).await;
    assert_eq!(welcome["restored_ids"], json!([chat(&c)]), "{welcome}");
    assert_eq!(behind(&mut bob, &c, 2).await, NOTHING);
    let live = say(&mut alice, &c, "live").await;
    assert_eq!(bob.message("msg").await["offset"], json!(live));
}
