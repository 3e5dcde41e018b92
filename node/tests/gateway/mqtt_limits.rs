//! MQTT clients that break the rules, that are slow, or that send too much.

use node::testkit::{HumanDuration, MqttClient, MqttConnect, Node, mqtt_addr, mqtt_packet};
use serde_json::json;

use crate::mqtt::with_mqtt;

/// Reason code of the DISCONNECT with which the connection ends.
async fn disconnected(client: &mut MqttClient) -> u8 {
    let rest = client.rest().await;
    let last = rest.last().expect("a packet");
    assert_eq!(last.first, 0xE0, "{rest:?}");
    last.body[0]
}

#[tokio::test]
async fn first_packet_must_be_a_connect() {
    let node = Node::with(with_mqtt).await;
    let mut second = MqttConnect::clean(4, "bob", "one").bytes();
    second[9] |= 1;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &mqtt_packet(0x30, b"\0\x01tx"),
        &[0xC0, 0],
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4],
        &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &mqtt_packet(0x10, b"\0\x04MQTT"),
        &second,
    ] {
        let mut client = MqttClient::open(mqtt_addr(&node)).await;
        client.send(bytes).await;
        assert!(client.rest().await.is_empty(), "{bytes:?}");
    }
    for bytes in [
        &b"\0\x06MQIsdp\x03\x02\0\x0A\0\x01c"[..],
        b"\0\x04MQTT\x06\x02\0\x0A\0\0\x01c",
    ] {
        let mut client = MqttClient::open(mqtt_addr(&node)).await;
        client.send(&mqtt_packet(0x10, bytes)).await;
        let refused = client.rest().await;
        assert_eq!((refused[0].first, &refused[0].body[..]), (0x20, &[0, 1][..]));
    }
    node.stop().await;
}

#[tokio::test]
async fn credentials_are_refused_with_their_codes() {
    let node = Node::with(with_mqtt).await;
    let connect = |level, user_name: &str, password: &str, client_id: &str| MqttConnect {
        user_name: user_name.to_owned(),
        password: password.to_owned(),
        ..MqttConnect::persistent(level, "bob", client_id)
    };
    let long = "x".repeat(65);
    for (user_name, password, client_id, reason, return_code) in [
        ("token", "nonsense", "one", 0x86, 4),
        ("token", "", "one", 0x86, 4),
        ("alice", "dev:bob", "one", 0x86, 4),
        ("bob", "dev:bob", &*long, 0x85, 2),
    ] {
        for (level, expected) in [(4, return_code), (5, reason)] {
            let connect = connect(level, user_name, password, client_id);
            let (mut client, connack) = MqttClient::connect(&node, &connect).await;
            assert_eq!(connack[..2], [0, expected], "{user_name} {password}");
            assert!(client.rest().await.is_empty());
        }
    }
    let (_, connack) = MqttClient::connect(&node, &connect(4, "bob", "dev:bob", "")).await;
    assert_eq!(connack, [0, 2], "a session that is kept needs a client id");
    for user_name in ["", "token", "bob"] {
        MqttClient::accepted(&node, &connect(4, user_name, "dev:bob", "one")).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn client_that_does_not_connect_in_time_is_cut() {
    let node = Node::with(|config| {
        with_mqtt(config);
        config.tuning.auth_timeout = HumanDuration::secs(3);
    })
    .await;
    let connect = MqttConnect::clean(4, "bob", "phone");
    let (mut bob, _) = MqttClient::accepted(&node, &connect).await;
    let mut slow = MqttClient::open(mqtt_addr(&node)).await;
    let bytes = MqttConnect::clean(4, "carol", "phone").bytes();
    slow.send(&bytes[..bytes.len() - 1]).await;
    assert!(slow.rest().await.is_empty());
    bob.is_silent().await;
    node.stop().await;
}

#[tokio::test]
async fn violations_end_the_connection_with_their_reason() {
    let node = Node::with(with_mqtt).await;
    let large = mqtt_packet(0x30, &vec![0; 70_000]);
    let again = MqttConnect::clean(5, "bob", "phone").bytes();
    let violations: [(&[u8], u8); 12] = [
        (&again[..], 0x82),
        (&[0xF0, 0], 0x82),
        (&[0x80, 0], 0x81),
        (&[0xC0, 1, 0], 0x81),
        (&mqtt_packet(0x30, b"\0\x01#\0"), 0x90),
        (&mqtt_packet(0x30, b"\0\x03\xED\xA0\x80\0"), 0x81),
        (&mqtt_packet(0x31, b"\0\x01t\0"), 0x9A),
        (&mqtt_packet(0x34, b"\0\x01t\0\x01\0"), 0x9B),
        (&mqtt_packet(0x30, b"\0\0\x03\x23\0\x09"), 0x94),
        (&mqtt_packet(0x30, b"\0\0\x03\x23\0\x01"), 0x82),
        (&large, 0x95),
        (&mqtt_packet(0x82, b"\0\x01\0\0\x01t\x33"), 0x81),
    ];
    for (at, (bytes, reason)) in violations.into_iter().enumerate() {
        let connect = MqttConnect::clean(5, "bob", &format!("phone-{at}"));
        let (mut bob, _) = MqttClient::accepted(&node, &connect).await;
        bob.send(bytes).await;
        assert_eq!(
            disconnected(&mut bob).await,
            reason,
            "{:?}",
            &bytes[..bytes.len().min(20)]
        );
    }
    // 3.1.1 has no packet for it, and a retained message is one like any other.
    let mut old = MqttClient::of(&node, 4, "bob").await;
    old.send(&mqtt_packet(0x31, b"\0\x01t{}")).await;
    old.is_silent().await;
    old.send(&mqtt_packet(0x30, b"\0\x01#{}")).await;
    assert!(old.rest().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn violation_keeps_the_session() {
    let node = Node::with(with_mqtt).await;
    let persistent = MqttConnect::persistent(5, "bob", "phone");
    let (mut bob, _) = MqttClient::accepted(&node, &persistent).await;
    bob.send(&[0xF0, 0]).await;
    assert_eq!(disconnected(&mut bob).await, 0x82);
    assert!(MqttClient::accepted(&node, &persistent).await.1);
    node.stop().await;
}

#[tokio::test]
async fn more_messages_than_the_receive_maximum_are_refused() {
    let node = Node::with(with_mqtt).await;
    let mut bob = MqttClient::of(&node, 5, "bob").await;
    let mut packets = Vec::new();
    for packet_id in 1..=40 {
        let send = json!({"cid": format!("k{packet_id}"), "b": {}});
        packets.extend(bob.publish_packet("u/alice/send", &send, 1, packet_id));
    }
    bob.send(&packets).await;
    assert_eq!(disconnected(&mut bob).await, 0x93);
    // 3.1.1 has no such limit: the reader waits instead.
    let mut old = MqttClient::of(&node, 4, "carol").await;
    let mut packets = Vec::new();
    for packet_id in 1..=40 {
        let send = json!({"cid": format!("k{packet_id}"), "b": {}});
        packets.extend(old.publish_packet("u/alice/send", &send, 1, packet_id));
    }
    old.send(&packets).await;
    for packet_id in 1..=40 {
        assert_eq!(old.acked(packet_id).await.0, 0);
    }
    node.stop().await;
}

#[tokio::test]
async fn flood_of_packets_without_a_command_is_cut() {
    let node = Node::with(with_mqtt).await;
    let mut bob = MqttClient::of(&node, 5, "bob").await;
    bob.send(&[0xC0, 0].repeat(4_000)).await;
    assert_eq!(disconnected(&mut bob).await, 0x96);
    let mut carol = MqttClient::of(&node, 5, "carol").await;
    carol.send(&mqtt_packet(0x40, &[0, 9]).repeat(4_000)).await;
    assert_eq!(disconnected(&mut carol).await, 0x96);
    node.stop().await;
}

#[tokio::test]
async fn packets_may_come_in_any_pieces() {
    let node = Node::with(with_mqtt).await;
    let mut bytes = MqttConnect::clean(4, "bob", "phone").bytes();
    // A client need not wait for CONNACK.
    bytes.extend(mqtt_packet(0x82, b"\0\x01\0\x0Bu/me/events\x01"));
    bytes.extend([0xC0, 0]);
    let mut client = MqttClient::open(mqtt_addr(&node)).await;
    for byte in bytes {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.next().await.first, 0x20);
    // The acknowledgement waits for the session.
    let mut rest = [client.next().await, client.next().await];
    rest.sort_by_key(|packet| packet.first);
    assert_eq!((rest[0].first, &*rest[0].body), (0x90, &[0, 1, 1][..]));
    assert_eq!(rest[1].first, 0xD0);
    node.stop().await;
}

#[tokio::test]
async fn gateway_is_absent_without_an_address() {
    let node = Node::start().await;
    assert!(
        node.running
            .protocol_addr(node::testkit::StreamProtocol::Mqtt)
            .is_none()
    );
    node.stop().await;
}
