//! Sessions of MQTT clients: kept and resumed, taken over, expired, and their wills.

use node::testkit::{Config, HumanDuration, MqttClient, MqttConnect, Node, eventually};
use serde_json::json;

use crate::mqtt::{LEVELS, group, say, with_mqtt};

/// Settings without receipts among the events.
fn without_receipts(config: &mut Config) {
    with_mqtt(config);
    config.tuning.delivered_interval = HumanDuration::secs(600);
}

#[tokio::test]
async fn persistent_session_repeats_what_was_not_acknowledged() {
    let node = Node::with(without_receipts).await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    for level in LEVELS {
        let connect = MqttConnect::persistent(level, "bob", &format!("phone-{level}"));
        let (mut bob, is_present) = MqttClient::accepted(&node, &connect).await;
        assert!(!is_present);
        bob.subscribe(&format!("c/{c}/events"), 1).await;
        for cid in ["a", "b"] {
            say(&mut alice, &c, &format!("{cid}{level}")).await;
        }
        let acknowledged = bob.message().await;
        let lost = bob.unacked_message().await;
        assert!(!lost.is_repeated);
        // The answer to a ping shows that the server has read the acknowledgement.
        bob.is_silent().await;
        drop(bob);
        say(&mut alice, &c, &format!("c{level}")).await;
        let (mut bob, is_present) = MqttClient::accepted(&node, &connect).await;
        assert!(is_present, "version {level}");
        let again = bob.message().await;
        assert!(again.is_repeated);
        assert_eq!((again.packet_id, &again.payload), (lost.packet_id, &lost.payload));
        assert_ne!(again.packet_id, acknowledged.packet_id);
        let missed = bob.event("msg").await;
        assert_eq!(missed.payload["cid"], format!("c{level}"));
        assert!(!missed.is_repeated, "it was never sent before");
    }
    node.stop().await;
}

#[tokio::test]
async fn acknowledgements_move_the_delivered_cursor() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    let mut bob = MqttClient::of(&node, 4, "bob").await;
    bob.subscribe(&format!("c/{c}/events"), 1).await;
    let s = say(&mut alice, &c, "one").await;
    let delivered = async |alice: &mut node::testkit::Client| {
        let members = json!({"t": "members", "id": 3, "c": c});
        let page = alice.ask(3, &members.to_string()).await;
        let items = page["items"].as_array().unwrap();
        let bob = items.iter().find(|item| item["u"] == "bob").unwrap();
        bob["delivered"].as_u64().unwrap()
    };
    assert!(delivered(&mut alice).await < s.as_u64().unwrap());
    bob.event("msg").await;
    eventually("the delivered cursor has moved", async || {
        delivered(&mut alice).await == s.as_u64().unwrap()
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn receive_maximum_of_the_client_is_never_exceeded() {
    let node = Node::with(without_receipts).await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    let mut connect = MqttConnect::clean(5, "bob", "phone");
    connect.properties = vec![0x21, 0, 2];
    let (mut bob, _) = MqttClient::accepted(&node, &connect).await;
    bob.subscribe(&format!("c/{c}/events"), 1).await;
    for i in 0..6 {
        say(&mut alice, &c, &format!("k{i}")).await;
    }
    for round in 0..3 {
        let first = bob.unacked_message().await;
        let second = bob.unacked_message().await;
        bob.is_silent().await;
        assert_eq!(first.payload["cid"], format!("k{}", 2 * round));
        // Answers pass the events that wait.
        let (reason, _) = bob
            .ask(
                &format!("c/{c}/send"),
                &json!({"cid": format!("b{round}"), "b": {}, "echo": false}),
            )
            .await;
        assert_eq!(reason, 0);
        bob.ack(second.packet_id).await;
        bob.ack(first.packet_id).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn second_connection_takes_the_session_over() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    let persistent = MqttConnect::persistent(5, "bob", "phone");
    let (mut old, _) = MqttClient::accepted(&node, &persistent).await;
    old.subscribe(&format!("c/{c}/events"), 1).await;
    // The session follows the new conversation from then on.
    old.ask(&format!("c/{c}/open"), &json!({})).await;
    let (mut new, is_present) = MqttClient::accepted(&node, &persistent).await;
    assert!(is_present);
    let last = old.rest().await.pop().unwrap();
    assert_eq!((last.first, last.body[0]), (0xE0, 0x8E));
    say(&mut alice, &c, "one").await;
    assert_eq!(new.event("msg").await.payload["cid"], "one");

    let clean = MqttConnect::clean(5, "bob", "phone");
    let (ended, is_present) = MqttClient::accepted(&node, &clean).await;
    assert!(!is_present);
    let last = new.rest().await.pop().unwrap();
    assert_eq!((last.first, last.body[0]), (0xE0, 0x8E));
    // A clean start has ended the session, and none of its events is repeated.
    drop(ended);
    let (_bob, is_present) = MqttClient::accepted(&node, &persistent).await;
    assert!(!is_present);
    // The same client id of another user is another device.
    let (_carol, _) = MqttClient::accepted(&node, &MqttConnect::persistent(4, "carol", "phone")).await;
    node.stop().await;
}

#[tokio::test]
async fn clients_with_one_id_do_not_displace_each_other_forever() {
    let node = Node::with(with_mqtt).await;
    let connects = LEVELS.map(|level| {
        [
            MqttConnect::clean(level, "bob", &format!("clean-{level}")),
            MqttConnect::persistent(level, "bob", &format!("kept-{level}")),
        ]
    });
    for connect in connects.into_iter().flatten() {
        let level = connect.level;
        let mut connections = Vec::new();
        let refused = loop {
            assert!(connections.len() < 10, "no takeover was refused");
            let (client, connack) = MqttClient::connect(&node, &connect).await;
            if connack[1] != 0 {
                break connack[1];
            }
            connections.push(client);
        };
        assert_eq!(refused, if level == 5 { 0x9F } else { 3 });
        connections.last_mut().unwrap().is_silent().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn session_ends_with_its_connection_where_it_is_not_persistent() {
    let node = Node::with(with_mqtt).await;
    // Clean session 1 of 3.1.1, and MQTT 5 without a session expiry.
    let clean = MqttConnect::clean(4, "bob", "one");
    let mut without = MqttConnect::persistent(5, "bob", "two");
    without.properties.clear();
    for (first, second) in [
        (clean, MqttConnect::persistent(4, "bob", "one")),
        (without.clone(), without),
    ] {
        let (mut bob, _) = MqttClient::accepted(&node, &first).await;
        bob.subscribe("u/me/events", 1).await;
        drop(bob);
        let (mut bob, is_present) = MqttClient::accepted(&node, &second).await;
        assert!(!is_present);
        // A client that expected its session has to synchronise.
        bob.subscribe("u/me/events", 1).await;
        assert_eq!(bob.message().await.payload["t"], "resync");
    }
    // DISCONNECT gives a kept session up.
    let persistent = MqttConnect::persistent(5, "bob", "three");
    let (mut bob, _) = MqttClient::accepted(&node, &persistent).await;
    bob.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    assert!(bob.rest().await.is_empty());
    assert!(!MqttClient::accepted(&node, &persistent).await.1);
    node.stop().await;
}

#[tokio::test]
async fn session_is_rebuilt_after_the_resume_timeout() {
    let node = Node::with(|config| {
        without_receipts(config);
        config.session.resume_timeout = HumanDuration::secs(5);
    })
    .await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    let connect = MqttConnect::persistent(5, "bob", "phone");
    let (mut bob, _) = MqttClient::accepted(&node, &connect).await;
    bob.subscribe(&format!("c/{c}/events"), 1).await;
    say(&mut alice, &c, "seen").await;
    assert_eq!(bob.event("msg").await.payload["cid"], "seen");
    // The answer to a ping shows that the server has read the acknowledgement.
    bob.ping().await;
    drop(bob);
    node.figure_reaches("rookery_sessions_detached", 1).await;
    node.figure_is("rookery_sessions_detached", 0).await;
    say(&mut alice, &c, "missed").await;
    let (mut bob, is_present) = MqttClient::accepted(&node, &connect).await;
    assert!(is_present);
    let rebuilt = "rookery_session_resumes_total{result=\"rebuilt\"}";
    assert_eq!(node.figure(rebuilt).await, 1);
    let missed = bob.event("msg").await;
    assert_eq!(
        (missed.is_repeated, &missed.payload["cid"]),
        (false, &json!("missed"))
    );
    node.stop().await;
}

#[tokio::test]
async fn session_continued_without_expiry_leaves_no_cursors() {
    const WRITTEN: &str = "rookery_device_cursors_written_total";
    let node = Node::with(with_mqtt).await;
    let persistent = MqttConnect::persistent(5, "bob", "phone");
    let (bob, _) = MqttClient::accepted(&node, &persistent).await;
    node.figure_reaches(WRITTEN, 1).await;
    let before = node.figure(WRITTEN).await;
    drop(bob);
    node.figure_reaches(WRITTEN, before + 1).await;
    let mut without = persistent.clone();
    without.properties.clear();
    let (bob, is_present) = MqttClient::accepted(&node, &without).await;
    assert!(is_present);
    // The removal counts as a write.
    node.figure_reaches(WRITTEN, before + 2).await;
    drop(bob);
    node.figure_is("rookery_sessions_detached", 0).await;
    let (_bob, is_present) = MqttClient::accepted(&node, &persistent).await;
    assert!(!is_present);
    node.stop().await;
}

#[tokio::test]
async fn clean_start_leaves_no_cursors_of_the_last_session() {
    let node = Node::with(with_mqtt).await;
    let persistent = MqttConnect::persistent(5, "bob", "phone");
    let (last, _) = MqttClient::accepted(&node, &persistent).await;
    node.figure_reaches("rookery_device_cursors_written_total", 1)
        .await;
    // The last session is connected and may write until it ends; the new one has no expiry, and writes none itself.
    let clean = MqttConnect::clean(5, "bob", "phone");
    let (ended, is_present) = MqttClient::accepted(&node, &clean).await;
    assert!(!is_present);
    drop((last, ended));
    node.figure_is("rookery_sessions_detached", 0).await;
    let (_bob, is_present) = MqttClient::accepted(&node, &persistent).await;
    assert!(!is_present);
    node.stop().await;
}

#[tokio::test]
async fn connack_states_what_was_granted() {
    let node = Node::with(|config| {
        with_mqtt(config);
        config.mqtt.session_expiry_max = HumanDuration::secs(50);
    })
    .await;
    let mut connect = MqttConnect::persistent(5, "bob", "");
    connect.keep_alive = 0;
    let (_, connack) = MqttClient::connect(&node, &connect).await;
    let has = |bytes: &[u8]| connack.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&[0x11, 0, 0, 0, 50]), "session expiry: {connack:?}");
    assert!(has(&[0x21, 0, 16]) && has(&[0x24, 1]) && has(&[0x25, 0]) && has(&[0x22, 0, 8]));
    assert!(has(&[0x28, 0, 0x29, 0, 0x2A, 0]), "subscriptions: {connack:?}");
    assert!(has(&[0x13, 0, 60]), "server keep alive: {connack:?}");
    assert!(has(b"\x12\0\x15mqtt-"), "assigned client id: {connack:?}");
    node.stop().await;
}

#[tokio::test]
async fn silent_client_is_closed_after_its_keep_alive() {
    let node = Node::with(with_mqtt).await;
    for level in LEVELS {
        let mut connect = MqttConnect::clean(level, "bob", "phone");
        connect.keep_alive = 1;
        let (mut bob, _) = MqttClient::accepted(&node, &connect).await;
        let rest = bob.rest().await;
        let reasons: Vec<u8> = rest.iter().map(|packet| packet.body[0]).collect();
        assert_eq!(reasons, if level == 5 { vec![0x8D] } else { vec![] });
    }
    node.stop().await;
}

#[tokio::test]
async fn will_is_executed_unless_the_client_says_farewell() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob", "carol"]).await;
    let mut carol = MqttClient::of(&node, 4, "carol").await;
    carol.subscribe(&format!("c/{c}/events"), 1).await;
    let with_will = |level: u8, cid: &str| MqttConnect {
        will: Some((
            format!("c/{c}/send"),
            json!({"cid": cid, "b": {"text": "gone"}}).to_string(),
        )),
        // A device of its own for each connection: quick takeovers are limited.
        ..MqttConnect::persistent(level, "bob", cid)
    };
    for level in LEVELS {
        // Lost connection, silence, and DISCONNECT with the will.
        let cid = format!("lost-{level}");
        let (bob, _) = MqttClient::accepted(&node, &with_will(level, &cid)).await;
        drop(bob);
        assert_eq!(carol.event("msg").await.payload["cid"], cid);
        let cid = format!("silent-{level}");
        let mut silent = with_will(level, &cid);
        silent.keep_alive = 1;
        let (_bob, _) = MqttClient::accepted(&node, &silent).await;
        assert_eq!(carol.event("msg").await.payload["cid"], cid);
        let (mut bob, _) = MqttClient::accepted(&node, &with_will(level, &format!("farewell-{level}"))).await;
        bob.send(&[0xE0, 0]).await;
        bob.rest().await;
    }
    let (mut bob, _) = MqttClient::accepted(&node, &with_will(5, "asked-for")).await;
    bob.send(&[0xE0, 1, 4]).await;
    assert_eq!(carol.event("msg").await.payload["cid"], "asked-for");
    // A will with a delay does not outlive the session, which this DISCONNECT ends.
    let mut delayed = with_will(5, "given-up");
    delayed.will_properties = vec![0x18, 0, 0, 0, 60];
    let (mut bob, _) = MqttClient::accepted(&node, &delayed).await;
    bob.send(&[0xE0, 7, 4, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(carol.event("msg").await.payload["cid"], "given-up");
    // Of a session that is not kept, too.
    let mut clean = with_will(4, "clean");
    clean.is_clean = true;
    let (bob, _) = MqttClient::accepted(&node, &clean).await;
    drop(bob);
    assert_eq!(carol.event("msg").await.payload["cid"], "clean");
    node.stop().await;
}

#[tokio::test]
async fn will_passes_the_rules_of_every_command() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob", "carol"]).await;
    let mut alice = node.client("alice").await;
    let mut carol = MqttClient::of(&node, 4, "carol").await;
    carol.subscribe(&format!("c/{c}/events"), 1).await;
    let will = |topic: &str| MqttConnect {
        will: Some((topic.to_owned(), json!({"cid": "w", "b": {}}).to_string())),
        ..MqttConnect::clean(5, "bob", "phone")
    };
    let (_, connack) = MqttClient::connect(&node, &will(&format!("c/{c}/kick"))).await;
    assert_eq!(connack[1], 0x90);
    let (bob, _) = MqttClient::accepted(&node, &will(&format!("c/{c}/send"))).await;
    let kick = json!({"t": "kick", "id": 3, "c": c, "cid": "kick", "who": "bob"});
    alice.ask(3, &kick.to_string()).await;
    drop(bob);
    node.figure_reaches("rookery_commands_refused_total{code=\"not_member\"}", 1)
        .await;
    say(&mut alice, &c, "last").await;
    assert_eq!(carol.event("msg").await.payload["cid"], "last");
    node.stop().await;
}
