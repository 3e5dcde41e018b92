//! MQTT 3.1.1 and 5 in raw packets: commands, their acknowledgements and answers, subscriptions and membership.

use node::testkit::{Client, Config, MqttClient, MqttConnect, Node, eventually, mqtt_packet};
use serde_json::{Value, json};

/// Both versions of the protocol, by the level in CONNECT.
pub(crate) const LEVELS: [u8; 2] = [4, 5];

pub(crate) fn with_mqtt(config: &mut Config) {
    config.mqtt.listen = "127.0.0.1:0".to_owned();
}

/// Makes a group of Alice's with these members.
pub(crate) async fn group(node: &Node, members: &[&str]) -> String {
    let mut alice = node.client("alice").await;
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": members});
    let made = alice.ask(1, &create.to_string()).await;
    made["c"].as_str().unwrap().to_owned()
}

/// Sends a message from Alice's native client, and returns its place.
pub(crate) async fn say(alice: &mut Client, c: &str, cid: &str) -> Value {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {"text": cid}});
    alice.ask(2, &send.to_string()).await["s"].clone()
}

fn value<'a>(properties: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = properties.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn message_is_acknowledged_and_the_same_cid_is_the_same_one() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob"]).await;
    let topic = format!("c/{c}/send");
    let mut bob = MqttClient::of(&node, 5, "bob").await;
    let send = json!({"cid": "k1", "b": {"text": "hi"}});
    let (reason, first) = bob.ask(&topic, &send).await;
    assert_eq!((reason, value(&first, "c")), (0, Some(&*c)));
    assert_eq!(value(&first, "dup"), None);
    let (_, again) = bob.ask(&topic, &send).await;
    assert_eq!(value(&again, "s"), value(&first, "s"));
    assert_eq!(value(&again, "dup"), Some("true"));

    let mut carol = MqttClient::of(&node, 4, "carol").await;
    assert_eq!(carol.subscribe("u/me/answers", 1).await, 1);
    assert_eq!(
        carol
            .ask("u/bob/send", &json!({"id": 9, "cid": "k1", "b": {}}))
            .await
            .0,
        0
    );
    let ack = carol.message().await;
    assert_eq!((&*ack.topic, ack.quality), ("u/me/answers", 0));
    assert_eq!(
        (&ack.payload["t"], &ack.payload["id"]),
        (&json!("ack"), &json!(9))
    );
    node.stop().await;
}

#[tokio::test]
async fn order_of_a_sender_holds_for_messages_and_acknowledgements() {
    let node = Node::with(with_mqtt).await;
    for level in LEVELS {
        let names = [format!("g{level}"), format!("h{level}")];
        let mut bob = MqttClient::of(&node, level, "bob").await;
        let mut packets = Vec::new();
        // Two conversations, whose commits end in any order; within the receive maximum of the server.
        for i in 1..=16 {
            let topic = format!("u/{}/send", names[i % 2]);
            let send = json!({"cid": format!("k{level}-{i}"), "b": {"i": i}});
            packets.extend(bob.publish_packet(&topic, &send, 1, u16::try_from(i).unwrap()));
        }
        bob.send(&packets).await;
        for packet_id in 1..=16 {
            assert_eq!(bob.acked(packet_id).await.0, 0);
        }
        for (at, name) in names.iter().enumerate() {
            let mut reader = node.client(name).await;
            // The list of the receiver follows the first message.
            let c = eventually("the conversation is listed", async || {
                let list = reader.ask(1, r#"{"t":"list","id":1}"#).await;
                list["items"][0]["c"].as_str().map(str::to_owned)
            })
            .await;
            let hist = json!({"t": "hist", "id": 2, "c": c, "after": 0});
            let events = reader.ask(2, &hist.to_string()).await;
            let sent = events["events"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|event| event["t"] == "msg");
            let order: Vec<u64> = sent.map(|event| event["b"]["i"].as_u64().unwrap()).collect();
            let expected: Vec<u64> = (1..=16).filter(|i| i % 2 == at as u64).collect();
            assert_eq!(order, expected);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn refusals_have_their_codes_and_the_connection_stays() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob"]).await;
    let refusals = [
        (
            format!("c/{c}/send"),
            json!({"cid": "k1", "b": {}}),
            0x87,
            "not_member",
        ),
        (format!("c/{c}/send"), json!({"b": {}}), 0x99, "bad_request"),
        (format!("c/{c}/send"), json!([1]), 0x99, "bad_request"),
        (
            "c/g_none/send".to_owned(),
            json!({"cid": "k2", "b": {}}),
            0x87,
            "not_member",
        ),
        ("test/topic".to_owned(), json!({}), 0x90, "bad_request"),
        ("u/alice/events".to_owned(), json!({}), 0x90, "bad_request"),
    ];
    for level in LEVELS {
        let mut dave = MqttClient::of(&node, level, "dave").await;
        dave.subscribe("u/me/answers", 1).await;
        for (topic, payload, reason, code) in &refusals {
            let (found, properties) = dave.ask(topic, payload).await;
            if level == 5 {
                assert_eq!(
                    (found, value(&properties, "code")),
                    (*reason, Some(*code)),
                    "{topic}"
                );
            } else {
                assert_eq!(found, 0, "3.1.1 has no other acknowledgement");
            }
            let err = dave.message().await;
            assert_eq!(
                (&err.payload["t"], &err.payload["code"]),
                (&json!("err"), &json!(code)),
                "{topic}"
            );
        }
        dave.publish(&format!("c/{c}/send"), &json!({"cid": "k3", "b": {}}), 0)
            .await;
        let err = dave.message().await;
        assert_eq!(
            (&err.payload["code"], &err.payload["cid"]),
            (&json!("not_member"), &json!("k3"))
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn membership_decides_at_the_subscription_and_at_a_kick() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob", "carol"]).await;
    let (own, all) = (format!("c/{c}/events"), "u/me/events");
    let mut dave = MqttClient::of(&node, 5, "dave").await;
    for filter in [
        &*own,
        "c/g_none/events",
        "c/+/events",
        "#",
        "u/bob/events",
        "$SYS/#",
    ] {
        assert_eq!(dave.subscribe(filter, 1).await, 0x87, "{filter}");
    }
    assert_eq!(dave.subscribe("$share/g/u/me/events", 1).await, 0x9E);
    let mut old = MqttClient::of(&node, 4, "dave2").await;
    assert_eq!(old.subscribe(&own, 1).await, 0x80);

    let mut bob = MqttClient::of(&node, 5, "bob").await;
    assert_eq!(
        bob.subscribe(&own, 2).await,
        1,
        "the highest quality is not granted"
    );
    let mut carol = MqttClient::of(&node, 4, "carol").await;
    assert_eq!(carol.subscribe(all, 1).await, 1);
    let mut alice = node.client("alice").await;
    let s = say(&mut alice, &c, "first").await;
    for (client, topic) in [(&mut bob, &*own), (&mut carol, all)] {
        let event = client.event("msg").await;
        assert_eq!(
            (&*event.topic, event.quality, &event.payload["s"]),
            (topic, 1, &s)
        );
        assert!(!event.is_repeated);
    }
    for (id, who) in [(3, "bob"), (4, "carol")] {
        let kick = json!({"t": "kick", "id": id, "c": c, "cid": format!("kick-{who}"), "who": who});
        assert_eq!(alice.ask(id, &kick.to_string()).await["t"], "ack");
    }
    say(&mut alice, &c, "second").await;
    // In 3.1.1 a refusal is acknowledged like any other command.
    for (client, who, refusal) in [(&mut bob, "bob", 0x87), (&mut carol, "carol", 0)] {
        loop {
            let event = client.event("member").await;
            assert_eq!(event.payload["why"], "kick");
            if event.payload["who"] == who {
                break;
            }
        }
        client.is_silent().await;
        let (reason, _) = client
            .ask(&format!("c/{c}/send"), &json!({"cid": who, "b": {}}))
            .await;
        assert_eq!(reason, refusal);
    }
    assert_eq!(bob.subscribe(&own, 1).await, 0x87);
    node.stop().await;
}

#[tokio::test]
async fn event_of_two_filters_comes_once_and_ends_with_them() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob"]).await;
    let own = format!("c/{c}/events");
    let mut bob = MqttClient::of(&node, 5, "bob").await;
    bob.subscribe("u/me/events", 1).await;
    bob.subscribe(&own, 0).await;
    let mut alice = node.client("alice").await;
    say(&mut alice, &c, "one").await;
    let event = bob.event("msg").await;
    assert_eq!(
        (event.topic, event.quality),
        (own.clone(), 0),
        "the quality of its own filter"
    );
    bob.unsubscribe(&own).await;
    say(&mut alice, &c, "two").await;
    let event = bob.event("msg").await;
    assert_eq!(
        (&*event.topic, &event.payload["cid"]),
        ("u/me/events", &json!("two"))
    );
    bob.unsubscribe("u/me/events").await;
    say(&mut alice, &c, "three").await;
    bob.is_silent().await;
    node.stop().await;
}

#[tokio::test]
async fn typing_is_sent_and_received_without_acknowledgement() {
    let node = Node::with(with_mqtt).await;
    let c = group(&node, &["bob", "carol"]).await;
    let mut bob = MqttClient::of(&node, 5, "bob").await;
    let mut carol = MqttClient::of(&node, 4, "carol").await;
    bob.subscribe("u/me/events", 1).await;
    carol.subscribe(&format!("c/{c}/events"), 1).await;
    bob.publish(&format!("c/{c}/typing"), &json!({"on": true}), 0)
        .await;
    let typing = carol.event("typing").await;
    assert_eq!((typing.quality, &typing.payload["u"]), (0, &json!("bob")));
    node.stop().await;
}

#[tokio::test]
async fn highest_quality_of_the_old_version_is_one_message() {
    let node = Node::with(with_mqtt).await;
    let mut bob = MqttClient::of(&node, 4, "bob").await;
    let send = json!({"cid": "k1", "b": {}});
    for _ in 0..2 {
        let packet = bob.publish_packet("u/alice/send", &send, 2, 7);
        bob.send(&packet).await;
        let received = bob.next().await;
        assert_eq!((received.first, received.body), (0x50, vec![0, 7]));
    }
    bob.send(&mqtt_packet(0x62, &[0, 7])).await;
    let completed = bob.next().await;
    assert_eq!((completed.first, completed.body), (0x70, vec![0, 7]));
    let mut alice = node.client("alice").await;
    let unread = eventually("the conversation is listed", async || {
        alice.ask(1, r#"{"t":"list","id":1}"#).await["items"][0]["unread"].as_u64()
    });
    assert_eq!(unread.await, 1);
    node.stop().await;
}

#[tokio::test]
async fn open_connections_are_counted() {
    let node = Node::with(with_mqtt).await;
    let name = "rookery_gateway_connections{gateway=\"mqtt\"}";
    let bob = MqttClient::of(&node, 4, "bob").await;
    let refused = MqttConnect {
        password: "nonsense".to_owned(),
        ..MqttConnect::clean(4, "carol", "c1")
    };
    let (_, connack) = MqttClient::connect(&node, &refused).await;
    assert_eq!(connack, [0, 4]);
    node.figure_is(name, 1).await;
    drop(bob);
    node.figure_is(name, 0).await;
    node.stop().await;
}
