//! Going on with a session on another node than before.

use std::time::Duration;

use serde_json::{Value, json};

use node::testkit::session::{
    Known, connect, event, flap, introduced, is_refused, is_resumed, known, race, say,
};
use node::testkit::{Client, HumanDuration, Incoming, PATIENCE, TestCluster};

#[tokio::test]
async fn a_session_goes_on_at_any_node_while_others_talk() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let bob = introduced(&cluster.nodes[0], &mut alice).await;
    // From node to node, and sometimes back to the same one.
    flap(alice, bob, 200, 5, |round| {
        &cluster.nodes[[1, 2, 2, 0][round % 4]]
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn old_session_resumes_anywhere_until_its_successor_is_used() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (old, at) = introduced(&cluster.nodes[0], &mut alice).await;
    for node in [1, 2, 0] {
        let (lost, ready) = connect(&cluster.nodes[node], "bob", "phone", Some(&at)).await;
        is_resumed(&ready, 2);
        drop(lost);
    }
    // Its old connection was ended in silence.
    let mut old = old;
    assert_eq!(old.recv().await, Incoming::Close(1000, String::new()));
    say(&mut alice, "bob", "a").await;
    let (mut bob, ready) = connect(&cluster.nodes[1], "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    assert_eq!(event(&mut bob, 3).await["cid"], "a");
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1,"n":3}"#).await["t"], "hb");
    for node in &cluster.nodes {
        let (_late, refused) = connect(node, "bob", "phone", Some(&at)).await;
        is_refused(&refused, "unknown");
    }
    let at = Known {
        n: 3,
        ..known(&ready)
    };
    let (_eve, refused) = connect(&cluster.nodes[2], "eve", "phone", Some(&at)).await;
    is_refused(&refused, "unknown");
    let (_far, refused) = connect(
        &cluster.nodes[2],
        "bob",
        "phone",
        Some(&Known { n: 9, ..at.clone() }),
    )
    .await;
    is_refused(&refused, "gap");
    let (mut bob, ready) = connect(&cluster.nodes[2], "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 3);
    say(&mut alice, "bob", "b").await;
    assert_eq!(event(&mut bob, 4).await["cid"], "b");
    cluster.stop().await;
}

#[tokio::test]
async fn one_of_two_concurrent_resumes_wins_and_nothing_is_lost() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut bob, mut at) = introduced(&cluster.nodes[0], &mut alice).await;
    for round in 0..6 {
        drop(bob);
        let [one, two] = [1, 2].map(|node| Client::connect(cluster.nodes[node].addr()));
        let (one, two) = tokio::join!(one, two);
        (bob, at) = race(&cluster.nodes[0], one, two, &at).await;
        say(&mut alice, "bob", &format!("m{round}")).await;
        at.n += 1;
        assert_eq!(event(&mut bob, at.n).await["cid"], format!("m{round}"));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn deliveries_are_reported_on_every_node_after_a_resume() {
    let cluster =
        TestCluster::with(|config| config.tuning.delivered_interval = HumanDuration::millis(20)).await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, at) = introduced(&cluster.nodes[1], &mut alice).await;
    drop(bob);
    let last = say(&mut alice, "bob", "a").await["s"].as_u64().unwrap();
    let (mut bob, ready) = connect(&cluster.nodes[2], "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    let delivered = async |alice: &mut Client, s: u64| {
        while alice.expect("receipt").await["delivered"].as_u64().unwrap() < s {}
    };
    delivered(&mut alice, last - 1).await;
    assert_eq!(event(&mut bob, 3).await["cid"], "a");
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1,"n":3}"#).await["t"], "hb");
    delivered(&mut alice, last).await;
    cluster.stop().await;
}

#[tokio::test]
async fn watches_survive_a_resume_at_any_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut bob, mut at) = introduced(&cluster.nodes[0], &mut alice).await;
    bob.ask(1, r#"{"t":"watch","id":1,"users":["carol","dan"]}"#)
        .await;
    for _ in 0..2 {
        at.n += 1;
        assert_eq!(event(&mut bob, at.n).await["state"], "offline");
    }
    // One comes while nobody listens, the other afterwards. The client says nothing of whom it watches.
    drop(bob);
    let _carol = cluster.nodes[2].client("carol").await;
    let (mut bob, ready) = connect(&cluster.nodes[1], "bob", "phone", Some(&at)).await;
    is_resumed(&ready, at.n);
    let online = async |bob: &mut Client, user: &str| {
        loop {
            let update = bob.expect("presence").await;
            if update["u"] == user && update["state"] == "online" {
                return;
            }
        }
    };
    online(&mut bob, "carol").await;
    let _dan = cluster.nodes[0].client("dan").await;
    online(&mut bob, "dan").await;
    cluster.stop().await;
}

/// Whatever a kick meets, a live session, one that waits, or one that is on its way to another node: the client sees what
/// happened up to its removal, and nothing of what came after.
#[tokio::test]
async fn a_kick_during_a_resume_is_the_last_that_the_client_sees() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut bob, ready) = connect(&cluster.nodes[0], "bob", "phone", None).await;
    let mut at = known(&ready);
    let make = json!({"t":"create","id":1,"kind":"group","cid":"g","members":["bob"]}).to_string();
    let c = alice.ask(1, &make).await["c"].clone();
    at.n += 1;
    assert_eq!(event(&mut bob, at.n).await["t"], "conv");
    for round in 0..12 {
        let (talk, kick, more) = (
            json!({"t":"send","id":2,"c":c,"cid":format!("t{round}"),"b":{}}),
            json!({"t":"kick","id":3,"c":c,"cid":format!("k{round}"),"who":"bob"}),
            json!({"t":"send","id":4,"c":c,"cid":format!("m{round}"),"b":{}}),
        );
        let next = connect(&cluster.nodes[[1, 2, 0][round % 3]], "bob", "phone", Some(&at));
        let kicking = async {
            tokio::time::sleep(Duration::from_millis(round as u64)).await;
            for (id, text) in [(2, &talk), (3, &kick), (4, &more)] {
                assert_eq!(alice.ask(id, &text.to_string()).await["t"], "ack");
            }
        };
        let ((resumed, ready), ()) = tokio::join!(next, kicking);
        is_resumed(&ready, at.n);
        (bob, at.sid) = (resumed, known(&ready).sid);
        at.n += 1;
        assert_eq!(event(&mut bob, at.n).await["cid"], format!("t{round}"));
        at.n += 1;
        let removed = event(&mut bob, at.n).await;
        assert_eq!(
            (&removed["why"], &removed["role"]),
            (&json!("kick"), &Value::Null)
        );
        // Brought in again, the conversation is new to the session.
        let invite = json!({"t":"invite","id":5,"c":c,"cid":format!("i{round}"),"who":"bob"}).to_string();
        assert_eq!(alice.ask(5, &invite).await["t"], "ack");
        at.n += 1;
        let mut conv = event(&mut bob, at.n).await;
        // The user's shard announces the round's first message by itself, which may be after the removal.
        if conv["t"] == "activity" {
            at.n += 1;
            conv = event(&mut bob, at.n).await;
        }
        assert_eq!((&conv["t"], &conv["c"]), (&json!("conv"), &c));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn resume_from_a_stopped_node_fails_and_sync_misses_nothing() {
    let mut cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, at) = introduced(&cluster.nodes[2], &mut alice).await;
    drop(bob);
    cluster.nodes.pop().unwrap().stop().await;
    let mut last = Value::Null;
    for cid in ["a", "b"] {
        let sent = async {
            loop {
                let send = json!({"t":"send","id":1,"to":"bob","cid":cid,"b":{}}).to_string();
                let ack = alice.ask(1, &send).await;
                if ack["t"] == "ack" {
                    return ack["s"].clone();
                }
                assert_eq!(ack["temp"], true, "{ack}");
                tokio::time::sleep(Duration::from_millis(ack["retry_ms"].as_u64().unwrap())).await;
            }
        };
        last = tokio::time::timeout(PATIENCE, sent).await.unwrap();
    }
    let (mut bob, refused) = connect(&cluster.nodes[1], "bob", "phone", Some(&at)).await;
    is_refused(&refused, "unknown");
    let delta = bob.ask(5, r#"{"t":"sync","id":5,"have":[]}"#).await;
    let events = delta["items"][0]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["s"], last);
    assert_eq!(events.iter().filter(|event| event["t"] == "msg").count(), 3);
    // Somebody makes up a node.
    let sid = format!("63{}", &at.sid[at.sid.len() - 32..]);
    let (_bob, refused) = connect(&cluster.nodes[1], "bob", "phone", Some(&Known { sid, n: 0 })).await;
    is_refused(&refused, "unknown");
    cluster.stop().await;
}
