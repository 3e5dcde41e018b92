//! The first moments of a subscription: what is in no log is state, and whoever comes a moment later learns it.

use std::time::Duration;

use serde_json::{Value, json};

use node::testkit::session::{connect, event, is_resumed, known};
use node::testkit::{TestCluster, temporary};

#[tokio::test]
async fn first_sender_sees_the_typing_of_an_immediate_reply() {
    let cluster = TestCluster::start().await;
    for round in 0..12 {
        let (a, b) = (format!("alice{round}"), format!("bob{round}"));
        let (mut alice, _) = connect(&cluster.nodes[0], &a, "phone", None).await;
        let (mut bob, _) = connect(&cluster.nodes[1 + round % 2], &b, "phone", None).await;
        let send = json!({"t":"send","id":1,"to":b,"cid":"first","b":{}}).to_string();
        alice.send(&send).await;
        // Bob's client shows the conversation, and bob types and reads before alice is told that it was sent.
        let c = loop {
            tokio::select! {
                conv = bob.expect("conv") => break conv["c"].clone(),
                // A shard may change its owner in the first moments of the cluster: the same message again.
                message = alice.json() => if message["t"] == "err" {
                    assert!(temporary(&message), "{message}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    alice.send(&send).await;
                },
            }
        };
        let typing = json!({"t":"typing","c":c,"on":true}).to_string();
        bob.send(&typing).await;
        let read = json!({"t":"read","id":2,"c":c,"s":3}).to_string();
        bob.send(&read).await;
        let (mut typed, mut was_read) = (false, false);
        while !typed || !was_read {
            let message = alice.json().await;
            typed |= message["t"] == "typing" && message["u"] == *b && message["on"] == true;
            was_read |= message["t"] == "receipt" && message["u"] == *b && message["read"] == 3;
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn mute_during_a_connect_reaches_the_connecting_device() {
    let cluster = TestCluster::start().await;
    let (mut phone, _) = connect(&cluster.nodes[0], "alice", "phone", None).await;
    let make = json!({"t":"create","id":1,"kind":"group","cid":"g","members":["bob"]}).to_string();
    let c = phone.ask(1, &make).await["c"].clone();
    for round in 0..12 {
        let muted = round % 2 == 0;
        let set = json!({"t":"set","id":2,"c":c,"cid":format!("s{round}"),"muted":muted}).to_string();
        let (mut laptop, _) =
            connect(&cluster.nodes[1 + round % 2], "alice", &format!("l{round}"), None).await;
        phone.send(&set).await;
        loop {
            let message = laptop.expect("conv").await;
            if message["c"] == c && message["muted"] == muted {
                break;
            }
        }
        assert_eq!(phone.answer(2).await["t"], "ack");
    }
    cluster.stop().await;
}

/// What is in no log counts for some seconds only: on a busy machine one connection may take longer, and not all of them.
const TRIES: usize = 6;

#[tokio::test]
async fn a_late_session_gets_typing_receipts_and_mutes() {
    let cluster = TestCluster::start().await;
    let (mut alice, _) = connect(&cluster.nodes[0], "alice", "phone", None).await;
    let mut received = [false; 3];
    for round in 0..TRIES {
        let bob = format!("bob{round}");
        let make = json!({"t":"create","id":1,"kind":"group","cid":format!("g{round}"),"members":[bob]});
        let c = alice.ask(1, &make.to_string()).await["c"].clone();
        let (mut typist, _) = connect(&cluster.nodes[1], &bob, "phone", None).await;
        let first = json!({"t":"send","id":2,"c":c,"cid":format!("{round}-0"),"b":{}}).to_string();
        let s = alice.ask(2, &first).await["s"].clone();
        let read = json!({"t":"read","id":2,"c":c,"s":s}).to_string();
        assert_eq!(typist.ask(2, &read).await["t"], "ok");
        let set = json!({"t":"set","id":2,"c":c,"cid":format!("s{round}"),"muted":true}).to_string();
        assert_eq!(alice.ask(2, &set).await["t"], "ack");
        typist
            .send(&json!({"t":"typing","c":c,"on":true}).to_string())
            .await;
        // Alice's phone is there, and hears it: all of it is said, and the laptop comes afterwards.
        while alice.expect("typing").await["c"] != c {}
        let (mut laptop, _) = connect(&cluster.nodes[2], "alice", &format!("l{round}"), None).await;
        let mut n = 0;
        let mut listens = false;
        while !listens {
            n += 1;
            let send = json!({"t":"send","id":3,"c":c,"cid":format!("{round}-{n}"),"b":{}}).to_string();
            assert_eq!(alice.ask(3, &send).await["t"], "ack");
            laptop.send(r#"{"t":"hb","id":4}"#).await;
            loop {
                let message = laptop.json().await;
                if message["id"] == 4 {
                    break;
                }
                if message["c"] != c {
                    continue;
                }
                // Whatever it is told of before is told in the step in which its events begin.
                listens |= message["t"] == "msg";
                received[0] |= message["t"] == "typing" && message["u"] == *bob;
                received[1] |= message["t"] == "receipt" && message["u"] == *bob && message["read"] == s;
                received[2] |= message["t"] == "conv" && message["muted"] == true;
            }
        }
        if received == [true; 3] {
            break;
        }
    }
    assert_eq!(received, [true; 3], "who types, who has read, what was muted");
    cluster.stop().await;
}

#[tokio::test]
async fn a_session_that_wants_no_echo_gets_none_wherever_it_goes_on() {
    let cluster = TestCluster::start().await;
    let (mut alice, ready) = connect(&cluster.nodes[0], "alice", "phone", None).await;
    let mut at = known(&ready);
    let make = json!({"t":"create","id":1,"kind":"group","cid":"g","members":["bob"]}).to_string();
    let c = alice.ask(1, &make).await["c"].clone();
    for round in 0..12 {
        for n in 0..30 {
            let cid = format!("{round}-{n}");
            let send = json!({"t":"send","id":2,"c":c,"cid":cid,"b":{},"echo":false}).to_string();
            alice.send(&send).await;
        }
        // Some of them are on their way.
        alice.answer(2).await;
        let (next, ready) = connect(&cluster.nodes[[1, 2, 0][round % 3]], "alice", "phone", Some(&at)).await;
        is_resumed(&ready, at.n);
        (alice, at.sid) = (next, known(&ready).sid);
        let end = format!("end{round}");
        let send = json!({"t":"send","id":3,"c":c,"cid":end,"b":{}}).to_string();
        alice.send(&send).await;
        at.n += 1;
        let message = event(&mut alice, at.n).await;
        assert_eq!(message["cid"], *end, "{message}");
    }
    cluster.stop().await;
}

/// The members of a group that is made with so many.
fn many() -> Vec<String> {
    (0..200).map(|n| format!("m{n:03}")).collect()
}

#[tokio::test]
async fn initial_members_follow_a_large_group_without_a_gap() {
    let cluster = TestCluster::start().await;
    let members = many();
    let (mut alice, _) = connect(&cluster.nodes[0], "alice", "phone", None).await;
    let mut others = Vec::new();
    for (at, user) in [(0, "alice"), (1, "m000"), (2, "m120"), (1, "m199")] {
        let (client, _) = connect(&cluster.nodes[at], user, "laptop", None).await;
        others.push(client);
    }
    let make = json!({"t":"create","id":1,"kind":"group","cid":"g","members":members}).to_string();
    let made = alice.ask(1, &make).await;
    let last = 1 + members.len() as u64;
    let seqs = |events: &Value| -> Vec<u64> {
        let events = events.as_array().unwrap();
        events.iter().map(|event| event["s"].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (made.get("gap"), seqs(&made["events"])),
        (None, (1..=last).collect())
    );
    let send = json!({"t":"send","id":2,"c":made["c"],"cid":"hello","b":{}}).to_string();
    assert_eq!(alice.ask(2, &send).await["t"], "ack");
    for client in &mut others {
        let conv = event(client, 1).await;
        assert_eq!((&conv["t"], conv.get("gap")), (&json!("conv"), None));
        let position = conv["last"]["s"].as_u64().unwrap();
        assert_eq!(seqs(&conv["events"]), (1..=position).collect::<Vec<_>>());
        for (n, s) in (2..).zip(position + 1..=last + 1) {
            assert_eq!(event(client, n).await["s"], s);
        }
    }
    cluster.stop().await;
}
