//! Durable cursors of a device: its stream is rebuilt from the log after its session was lost.

use serde_json::json;

use node::testkit::session::{confirm, connect_by_device, event, is_refused, is_resumed, next_message, say};
use node::testkit::{Client, HumanSize, Node, TestCluster};

const WRITTEN: &str = "rookery_device_cursors_written_total";

/// Starts three nodes whose detached sessions are lost after few events.
async fn small_cluster() -> TestCluster {
    TestCluster::with(|config| config.limits.replay_buffer_size = HumanSize::kib(4)).await
}

/// Ends a connection, and waits until the cursors of its session are stored.
async fn detach(client: Client, node: &Node) {
    // The first write follows the begin of the session, and the end of the connection is always written.
    node.figure_reaches(WRITTEN, 1).await;
    let before = node.figure(WRITTEN).await;
    drop(client);
    node.figure_reaches(WRITTEN, before + 1).await;
}

/// Sends more to Bob than his detached session can hold.
async fn flood(alice: &mut Client, name: &str) -> Vec<String> {
    let mut cids = Vec::new();
    for i in 0..80 {
        let cid = format!("{name}-{i}-{}", "x".repeat(50));
        say(alice, "bob", &cid).await;
        cids.push(cid);
    }
    cids
}

#[tokio::test]
async fn overflowed_session_of_a_device_is_rebuilt_from_the_log() {
    let cluster = small_cluster().await;
    let (home, other) = (&cluster.nodes[1], &cluster.nodes[2]);
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut bob, ready) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    is_refused(&ready, "unknown");
    say(&mut alice, "bob", "confirmed").await;
    assert_eq!(event(&mut bob, 1).await["t"], "conv");
    assert_eq!(event(&mut bob, 2).await["cid"], "confirmed");
    confirm(&mut bob, 2).await;
    say(&mut alice, "bob", "unconfirmed").await;
    assert_eq!(event(&mut bob, 3).await["cid"], "unconfirmed");
    detach(bob, home).await;

    // A conversation that begins while the client is away, in front of the overflow.
    let mut carol = cluster.nodes[0].client("carol").await;
    say(&mut carol, "bob", "new").await;
    let missed = flood(&mut alice, "m").await;
    home.figure_is("rookery_sessions_detached", 0).await;

    let (mut bob, ready) = connect_by_device(other.addr(), "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    let mut expected = vec!["unconfirmed".to_owned()];
    expected.extend(missed);
    let (mut from_alice, mut from_carol) = (Vec::new(), Vec::new());
    let mut n = 0;
    while from_alice.len() < expected.len() || from_carol.len() < 2 {
        n += 1;
        let event = event(&mut bob, n).await;
        match (event["t"].as_str(), event["u"].as_str()) {
            (Some("msg"), Some("alice")) => from_alice.push(event["cid"].as_str().unwrap().to_owned()),
            (Some("conv"), _) => from_carol.push(event["peer"]["u"].clone()),
            (Some("msg"), _) => from_carol.push(event["cid"].clone()),
            _ => {}
        }
    }
    assert_eq!(from_alice, expected, "each once, in order");
    assert_eq!(
        from_carol,
        ["carol", "new"],
        "a conversation that is new to the device"
    );
    // From here on it is a session like any other.
    let hb = json!({"t":"hb","id":9,"n":n}).to_string();
    bob.send(&hb).await;
    loop {
        // Further events of the other conversation may come before the response.
        let message = bob.json().await;
        if message["id"] == 9 {
            break;
        }
        n += 1;
        assert_eq!(message["n"], n, "{message}");
    }
    let live = say(&mut alice, "bob", "live").await;
    assert_eq!(next_message(&mut bob, &mut n).await["s"], live["s"]);
    drop(bob);
    let (_bob, ready) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    assert_eq!(ready["resumed"], true, "{ready}");
    cluster.stop().await;
}

#[tokio::test]
async fn rebuilt_stream_ends_with_the_removal_of_its_user() {
    let cluster = small_cluster().await;
    let (home, other) = (&cluster.nodes[1], &cluster.nodes[2]);
    let mut alice = cluster.nodes[0].client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": ["bob"]});
    let c = alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned();
    let (bob, _) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    detach(bob, home).await;
    let send = async |alice: &mut Client, cid: &str| {
        let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
        assert_eq!(alice.ask(2, &send.to_string()).await["t"], "ack");
    };
    send(&mut alice, "before").await;
    let kick = json!({"t": "kick", "id": 3, "c": c, "cid": "kick", "who": "bob"});
    assert_eq!(alice.ask(3, &kick.to_string()).await["t"], "ack");
    send(&mut alice, "secret").await;
    flood(&mut alice, "m").await;
    home.figure_is("rookery_sessions_detached", 0).await;

    let (mut bob, ready) = connect_by_device(other.addr(), "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    let (mut n, mut of_group) = (0, Vec::new());
    while of_group.last() != Some(&json!("member")) {
        n += 1;
        let event = event(&mut bob, n).await;
        if event["c"] == json!(c) {
            of_group.push(event["t"].clone());
        }
    }
    assert_eq!(of_group, ["msg", "member"]);
    say(&mut alice, "bob", "live").await;
    loop {
        n += 1;
        let event = event(&mut bob, n).await;
        assert_ne!(event["c"], json!(c), "{event}");
        if event["cid"] == "live" {
            break;
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn clean_start_forgets_the_cursors_of_the_device() {
    let cluster = small_cluster().await;
    let home = &cluster.nodes[1];
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, _) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    say(&mut alice, "bob", "old").await;
    detach(bob, home).await;
    let (bob, ready) = connect_by_device(home.addr(), "bob", "phone", "clean").await;
    assert_eq!(ready["resumed"], false);
    // The detached session is over, and the new one has its own cursors.
    home.figure_is("rookery_sessions_detached", 0).await;
    detach(bob, home).await;
    let missed = flood(&mut alice, "m").await;
    home.figure_is("rookery_sessions_detached", 0).await;
    let (mut bob, ready) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    let mut n = 0;
    for cid in missed {
        assert_eq!(next_message(&mut bob, &mut n).await["cid"], json!(cid));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn cursors_belong_to_one_device_of_one_user() {
    let cluster = small_cluster().await;
    let home = &cluster.nodes[1];
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, _) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    detach(bob, home).await;
    flood(&mut alice, "m").await;
    home.figure_is("rookery_sessions_detached", 0).await;
    for (user, device) in [("bob", "tablet"), ("eve", "phone")] {
        let (_client, ready) = connect_by_device(home.addr(), user, device, "device").await;
        is_refused(&ready, "unknown");
    }
    let (_bob, ready) = connect_by_device(home.addr(), "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    cluster.stop().await;
}
