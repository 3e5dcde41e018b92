//! Sessions that outlive their connection, on one node.

use node::testkit::session::{
    Known, auth, connect, event, flap, introduced, is_refused, is_resumed, known, race, say,
};
use node::testkit::{Client, Config, HumanDuration, HumanSize, Incoming, Node, TEXT, eventually, masked};
use serde_json::{Value, json};

/// A node that reports no arrivals by itself: each event of a test has its number.
async fn node() -> Node {
    Node::with(quiet).await
}

fn quiet(config: &mut Config) {
    config.tuning.delivered_interval = HumanDuration::millis(60_000);
}

/// Waits until the node has this many sessions without a client.
async fn detached(node: &Node, least: u64) {
    node.figure_reaches("rookery_sessions_detached", least).await;
}

#[tokio::test]
async fn a_session_goes_on_exactly_where_the_client_was() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (bob, mut at) = introduced(&node, &mut alice).await;
    drop(bob);
    detached(&node, 1).await;
    for cid in ["a", "b", "c"] {
        say(&mut alice, "bob", cid).await;
    }
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    assert_ne!(ready["sid"], at.sid, "the name changes at every resume");
    for (n, cid) in [(3, "a"), (4, "b"), (5, "c")] {
        assert_eq!(event(&mut bob, n).await["cid"], cid);
    }
    // And live again, from a header this time, by a client that said goodbye.
    say(&mut alice, "bob", "d").await;
    assert_eq!(event(&mut bob, 6).await["cid"], "d");
    at = Known {
        n: 5,
        ..known(&ready)
    };
    bob.raw(&masked(8, true, &1000u16.to_be_bytes())).await;
    assert_eq!(bob.closed().await.0, 1000);
    say(&mut alice, "bob", "e").await;
    let headers = format!(
        "Authorization: Bearer dev:bob\r\nX-Device: phone\r\nX-Resume: {}:{}\r\n",
        at.sid, at.n
    );
    let mut bob = Client::upgrade(node.addr(), &headers, None).await;
    let ready = bob.expect("ready").await;
    is_resumed(&ready, 5);
    for (n, cid) in [(6, "d"), (7, "e")] {
        assert_eq!(event(&mut bob, n).await["cid"], cid);
    }
    assert_eq!(
        node.figure("rookery_session_resumes_total{result=\"resumed\"}")
            .await,
        2
    );
    node.stop().await;
}

#[tokio::test]
async fn the_old_name_serves_until_the_client_has_used_the_new_one() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (bob, at) = introduced(&node, &mut alice).await;
    drop(bob);
    say(&mut alice, "bob", "a").await;
    // The answer is lost, twice.
    for _ in 0..2 {
        let (lost, ready) = connect(&node, "bob", "phone", Some(&at)).await;
        is_resumed(&ready, 2);
        drop(lost);
    }
    say(&mut alice, "bob", "b").await;
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    for (n, cid) in [(3, "a"), (4, "b")] {
        assert_eq!(event(&mut bob, n).await["cid"], cid);
    }
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1,"n":4}"#).await["t"], "hb");
    let (_other, refused) = connect(&node, "bob", "phone", Some(&at)).await;
    is_refused(&refused, "unknown");
    // The new one is unharmed: its device has another connection, as of any that is connected twice.
    say(&mut alice, "bob", "c").await;
    drop(bob);
    let at = Known {
        n: 4,
        ..known(&ready)
    };
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 4);
    assert_eq!(event(&mut bob, 5).await["cid"], "c");
    node.stop().await;
}

#[tokio::test]
async fn no_other_user_gets_a_session_by_its_id() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut bob, at) = introduced(&node, &mut alice).await;
    for (user, device) in [("eve", "phone"), ("bob", "laptop")] {
        let (_other, ready) = connect(&node, user, device, Some(&at)).await;
        is_refused(&ready, "unknown");
        assert_ne!(ready["sid"], at.sid);
    }
    say(&mut alice, "bob", "a").await;
    assert_eq!(event(&mut bob, 3).await["cid"], "a");
    drop(bob);
    let (_bob, ready) = connect(&node, "bob", "phone", Some(&Known { n: 3, ..at })).await;
    is_resumed(&ready, 3);
    for sid in ["", "00", "1", &"f".repeat(33), &"z".repeat(33), &"9".repeat(200)] {
        let sid = sid.to_owned();
        let (_bob, ready) = connect(&node, "bob", "phone", Some(&Known { sid, n: 0 })).await;
        is_refused(&ready, "unknown");
    }
    node.stop().await;
}

#[tokio::test]
async fn resume_from_an_unavailable_seq_is_a_harmless_gap() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut bob, at) = introduced(&node, &mut alice).await;
    // What is confirmed is forgotten.
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1,"n":1}"#).await["t"], "hb");
    drop(bob);
    for n in [0, 3, 1 << 63, u64::MAX] {
        let (_bob, ready) = connect(&node, "bob", "phone", Some(&Known { n, ..at.clone() })).await;
        is_refused(&ready, "gap");
    }
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&Known { n: 1, ..at })).await;
    is_resumed(&ready, 1);
    assert_eq!(event(&mut bob, 2).await["cid"], "hello");
    node.stop().await;
}

#[tokio::test]
async fn resume_closes_the_old_socket_without_a_close_reason() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut old, at) = introduced(&node, &mut alice).await;
    let (mut new, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    assert_eq!(old.recv().await, Incoming::Close(1000, String::new()));
    assert_eq!(old.recv().await, Incoming::End);
    say(&mut alice, "bob", "a").await;
    assert_eq!(event(&mut new, 3).await["cid"], "a");
    node.stop().await;
}

#[tokio::test]
async fn of_two_that_resume_at_once_one_goes_on_and_nothing_is_lost() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut bob, mut at) = introduced(&node, &mut alice).await;
    for round in 0..10 {
        drop(bob);
        let (one, two) = tokio::join!(Client::connect(node.addr()), Client::connect(node.addr()));
        (bob, at) = race(&node, one, two, &at).await;
        say(&mut alice, "bob", &format!("m{round}")).await;
        at.n += 1;
        assert_eq!(event(&mut bob, at.n).await["cid"], format!("m{round}"));
    }
    node.stop().await;
}

#[tokio::test]
async fn commands_behind_a_resume_wait_for_it_and_keep_their_order() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (bob, at) = introduced(&node, &mut alice).await;
    drop(bob);
    say(&mut alice, "bob", "a").await;
    let mut bob = Client::connect(node.addr()).await;
    let mut burst = masked(TEXT, true, auth("bob", "phone", Some(&at)).as_bytes());
    for i in 1..=10 {
        let send = json!({"t":"send","id":i,"to":"alice","cid":format!("p{i}"),"b":{},"echo":false});
        burst.extend(masked(TEXT, true, send.to_string().as_bytes()));
    }
    bob.raw(&burst).await;
    assert_eq!(bob.json().await["t"], "hello");
    is_resumed(&bob.json().await, 2);
    let (mut seqs, mut next) = (Vec::new(), 3);
    while seqs.len() < 10 {
        let message = bob.json().await;
        match message["t"].as_str().unwrap() {
            "ack" => {
                assert_eq!(message["id"], seqs.len() + 1);
                seqs.push(message["s"].as_u64().unwrap());
            }
            _ => {
                assert_eq!(message["n"], next, "{message}");
                next += 1;
            }
        }
    }
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    node.stop().await;
}

#[tokio::test]
async fn events_during_a_resume_are_neither_lost_nor_duplicated() {
    let node = Node::with(|config| {
        quiet(config);
        config.limits.sends_per_second = 100_000;
        config.tuning.sends_burst = Some(100_000);
        config.tuning.queries_burst = Some(100_000);
        config.server.threads = 4;
    })
    .await;
    let mut alice = node.client("alice").await;
    let bob = introduced(&node, &mut alice).await;
    flap(alice, bob, 600, 7, |_| &node).await;
    node.stop().await;
}

#[tokio::test]
async fn a_detached_session_expires() {
    let node = Node::with(|config| config.session.resume_timeout = HumanDuration::millis(300)).await;
    let (bob, ready) = connect(&node, "bob", "phone", None).await;
    assert_eq!(ready["resume_ttl_ms"], 300);
    drop(bob);
    eventually("it expires", async || {
        node.figure("rookery_sessions").await + node.figure("rookery_sessions_detached").await == 0
    })
    .await;
    let (_bob, refused) = connect(&node, "bob", "phone", Some(&known(&ready))).await;
    is_refused(&refused, "expired");
    let (_eve, refused) = connect(&node, "eve", "phone", Some(&known(&ready))).await;
    is_refused(&refused, "unknown");
    node.stop().await;
}

#[tokio::test]
async fn sessions_that_wait_are_bounded_in_number_and_in_bytes() {
    fn few(config: &mut Config) {
        config.session.max_detached = 2;
        config.tuning.detached_size = Some(HumanSize(20_000));
    }
    let node = Node::with(few).await;
    let mut gone = Vec::new();
    for user in ["u1", "u2", "u3"] {
        let (client, ready) = connect(&node, user, "phone", None).await;
        drop(client);
        gone.push(known(&ready));
        let dropped = gone.len().saturating_sub(2) as u64;
        detached(&node, gone.len() as u64 - dropped).await;
        node.figure_reaches("rookery_sessions_detached_dropped_total", dropped)
            .await;
    }
    let (_u1, refused) = connect(&node, "u1", "phone", Some(&gone[0])).await;
    is_refused(&refused, "expired");

    // What is said to the two that wait is kept, until it is too much for one of them.
    let mut alice = node.client("alice").await;
    let body = "x".repeat(4_000);
    for i in 0..6 {
        let send = json!({"t":"send","id":i,"to":"u2","cid":format!("{i}"),"b":{"x":body}});
        assert_eq!(alice.ask(i, &send.to_string()).await["t"], "ack");
    }
    node.figure_reaches("rookery_sessions_detached_dropped_total", 2)
        .await;
    let (_u2, refused) = connect(&node, "u2", "phone", Some(&gone[1])).await;
    is_refused(&refused, "expired");
    let (_u3, ready) = connect(&node, "u3", "phone", Some(&gone[2])).await;
    is_resumed(&ready, 0);
    node.stop().await;
}

#[tokio::test]
async fn events_beyond_the_replay_buffer_are_a_gap_that_sync_fills() {
    let node = Node::with(|config| config.limits.replay_buffer_size = HumanSize::kib(2)).await;
    let mut alice = node.client("alice").await;
    let (bob, at) = introduced(&node, &mut alice).await;
    drop(bob);
    detached(&node, 1).await;
    for i in 0..12 {
        say(&mut alice, "bob", &format!("m{i}")).await;
    }
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_refused(&ready, "gap");
    let delta = bob.ask(5, r#"{"t":"sync","id":5,"have":[]}"#).await;
    let events = delta["items"][0]["events"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (last["cid"].as_str(), last["mn"].as_u64()),
        (Some("m11"), Some(13))
    );
    node.stop().await;
}

#[tokio::test]
async fn what_the_client_has_is_reported_as_delivered_across_resumes() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(20)).await;
    let mut alice = node.client("alice").await;
    let (bob, at) = introduced(&node, &mut alice).await;
    // Bob never said what he has, until he comes back.
    drop(bob);
    let last = say(&mut alice, "bob", "a").await["s"].as_u64().unwrap();
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    let delivered = async |alice: &mut Client, least: u64| {
        loop {
            let receipt = alice.expect("receipt").await;
            assert_eq!(receipt["u"], "bob");
            let delivered = receipt["delivered"].as_u64().unwrap();
            assert!(delivered <= least, "{receipt}");
            if delivered == least {
                return;
            }
        }
    };
    delivered(&mut alice, last - 1).await;
    assert_eq!(event(&mut bob, 3).await["cid"], "a");
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1,"n":3}"#).await["t"], "hb");
    delivered(&mut alice, last).await;
    node.stop().await;
}

#[tokio::test]
async fn membership_changes_while_detached_are_there_on_resume() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut bob, ready) = connect(&node, "bob", "phone", None).await;
    let group =
        |cid: &str| json!({"t":"create","id":1,"kind":"group","cid":cid,"members":["bob"]}).to_string();
    let first = alice.ask(1, &group("one")).await["c"].clone();
    assert_eq!(event(&mut bob, 1).await["c"], first);
    drop(bob);
    detached(&node, 1).await;

    // Put out of one, brought into another, and what was read meanwhile.
    let send =
        |id: i64, c: &Value| json!({"t":"send","id":id,"c":c,"cid":format!("m{id}"),"b":{}}).to_string();
    alice.ask(2, &send(2, &first)).await;
    let kick = json!({"t":"kick","id":3,"c":first,"cid":"k","who":"bob"}).to_string();
    assert_eq!(alice.ask(3, &kick).await["t"], "ack");
    alice.ask(4, &send(4, &first)).await;
    let second = alice.ask(1, &group("two")).await["c"].clone();
    alice.ask(5, &send(5, &second)).await;

    let (mut bob, ready) = connect(
        &node,
        "bob",
        "phone",
        Some(&Known {
            n: 1,
            ..known(&ready)
        }),
    )
    .await;
    is_resumed(&ready, 1);
    assert_eq!(event(&mut bob, 2).await["cid"], "m2");
    let removed = event(&mut bob, 3).await;
    assert_eq!(
        (&removed["why"], &removed["who"]),
        (&json!("kick"), &json!("bob"))
    );
    let brought = event(&mut bob, 4).await;
    assert_eq!((&brought["t"], &brought["c"]), (&json!("conv"), &second));
    assert_eq!(event(&mut bob, 5).await["cid"], "m5");
    alice.ask(6, &send(6, &first)).await;
    alice.ask(7, &send(7, &second)).await;
    assert_eq!(event(&mut bob, 6).await["cid"], "m7");
    let refused = bob
        .ask(8, &json!({"t":"open","id":8,"c":first}).to_string())
        .await;
    assert_eq!(refused["code"], "not_member");
    node.stop().await;
}

#[tokio::test]
async fn receipts_wait_for_a_detached_client() {
    let node = node().await;
    let mut alice = node.client("alice").await;
    let (mut bob, at) = introduced(&node, &mut alice).await;
    let c = bob.ask(1, r#"{"t":"list","id":1}"#).await["items"][0]["c"].clone();
    let s = say(&mut bob, "alice", "x").await["s"].clone();
    drop(bob);
    detached(&node, 1).await;
    let read = json!({"t":"read","id":2,"c":c,"s":s}).to_string();
    assert_eq!(alice.ask(2, &read).await["t"], "ok");
    say(&mut alice, "bob", "y").await;
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    let receipt = loop {
        let message = bob.json().await;
        if message["t"] == "receipt" && message["read"] == s {
            break message;
        }
    };
    assert_eq!(receipt["u"], "alice");
    node.stop().await;
}

#[tokio::test]
async fn a_session_that_ended_with_its_token_is_not_resumed() {
    let node = node().await;
    let (mut bob, ready) = connect(&node, "bob", "phone", None).await;
    // Another user's token ends it for good.
    bob.send(r#"{"t":"auth","id":3,"token":"dev:eve"}"#).await;
    assert_eq!(bob.closed().await.0, 4401);
    let (_bob, refused) = connect(&node, "bob", "phone", Some(&known(&ready))).await;
    is_refused(&refused, "unknown");
    node.stop().await;
}
