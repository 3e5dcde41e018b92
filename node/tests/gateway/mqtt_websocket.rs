//! MQTT over a WebSocket: the binary messages are a stream of bytes.

use node::testkit::{Client, HumanDuration, Incoming, MqttConnect, Node, masked, mqtt_packet};

use crate::mqtt::{group, say};

const BINARY: u8 = 2;

async fn open(node: &Node, path: &str) -> Client {
    Client::upgrade_at(node.addr(), path, "Sec-WebSocket-Protocol: mqtt\r\n", None).await
}

/// The bytes of the next messages, until there are `size`.
async fn bytes(client: &mut Client, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size {
        match client.recv().await {
            Incoming::Binary(more) => bytes.extend(more),
            other => panic!("{other:?}"),
        }
    }
    bytes
}

#[tokio::test]
async fn packets_span_messages_and_share_them() {
    let node = Node::start().await;
    let mut client = open(&node, "/mqtt").await;
    assert!(
        client
            .head
            .to_lowercase()
            .contains("sec-websocket-protocol: mqtt\r\n"),
        "{}",
        client.head
    );
    let connect = MqttConnect::clean(4, "bob", "phone").bytes();
    for byte in &connect {
        client.raw(&masked(BINARY, true, &[*byte])).await;
    }
    assert_eq!(bytes(&mut client, 4).await, [0x20, 2, 0, 0]);
    let mut both = mqtt_packet(0x82, b"\0\x01\0\x0Bu/me/events\x01");
    both.extend([0xC0, 0]);
    client.raw(&masked(BINARY, true, &both)).await;
    // The acknowledgement waits for the session.
    assert_eq!(bytes(&mut client, 7).await, [0xD0, 0, 0x90, 3, 0, 1, 1]);
    node.stop().await;
}

#[tokio::test]
async fn receive_maximum_holds_over_a_websocket_too() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::secs(600)).await;
    let c = group(&node, &["bob"]).await;
    let mut alice = node.client("alice").await;
    let mut client = open(&node, "/mqtt").await;
    let mut connect = MqttConnect::clean(5, "bob", "phone");
    connect.properties = vec![0x21, 0, 1];
    client.raw(&masked(BINARY, true, &connect.bytes())).await;
    assert_eq!(bytes(&mut client, 31).await[..4], [0x20, 29, 0, 0]);
    let mut subscribe = vec![0, 9, 0, 0, 0];
    subscribe.extend(format!("c/{c}/events").bytes());
    subscribe[4] = u8::try_from(subscribe.len() - 5).unwrap();
    subscribe.push(1);
    client
        .raw(&masked(BINARY, true, &mqtt_packet(0x82, &subscribe)))
        .await;
    assert_eq!(bytes(&mut client, 6).await, [0x90, 4, 0, 9, 0, 1]);
    for cid in ["one", "two"] {
        say(&mut alice, &c, cid).await;
    }
    for (packet_id, cid) in [(1, "one"), (2, "two")] {
        // The first message alone, until it is acknowledged; the answer to a ping passes the second one. The packet id
        // is the number of the event.
        let event = bytes(&mut client, 100).await;
        assert_eq!(event[0], 0x32);
        let text = String::from_utf8_lossy(&event).into_owned();
        assert!(
            text.contains(&format!(r#""cid":"{cid}""#)) && text.matches("\"cid\"").count() == 1,
            "{text}"
        );
        client.raw(&masked(BINARY, true, &[0xC0, 0])).await;
        assert_eq!(bytes(&mut client, 2).await, [0xD0, 0]);
        client
            .raw(&masked(BINARY, true, &mqtt_packet(0x40, &[0, packet_id])))
            .await;
    }
    node.stop().await;
}

#[tokio::test]
async fn text_and_other_subprotocols_are_refused() {
    let node = Node::start().await;
    for offer in ["", "Sec-WebSocket-Protocol: soap\r\n"] {
        let refused = Client::upgrade_at(node.addr(), "/mqtt", offer, None).await;
        assert!(refused.head.starts_with("HTTP/1.1 400"), "{}", refused.head);
    }
    let mut client = open(&node, "/mqtt").await;
    client.send("hello").await;
    assert_eq!(client.closed().await.0, 1003);
    let mut client = open(&node, "/mqtt").await;
    client.raw(&masked(BINARY, true, &[0xC0, 0])).await;
    assert_eq!(client.closed().await.0, 4400);
    node.stop().await;
}

#[tokio::test]
async fn endpoint_is_at_its_path_or_absent() {
    let node = Node::with(|config| config.mqtt.path = String::new()).await;
    let absent = open(&node, "/mqtt").await;
    assert!(absent.head.starts_with("HTTP/1.1 404"), "{}", absent.head);
    node.stop().await;
    let node = Node::with(|config| config.mqtt.path = "/live/mqtt".to_owned()).await;
    let moved = open(&node, "/live/mqtt").await;
    assert!(moved.head.starts_with("HTTP/1.1 101"), "{}", moved.head);
    node.stop().await;
}

#[tokio::test]
async fn websocket_without_a_connect_is_closed_in_time() {
    let node = Node::with(|config| config.tuning.auth_timeout = HumanDuration::secs(3)).await;
    let mut identified = open(&node, "/mqtt").await;
    identified
        .raw(&masked(
            BINARY,
            true,
            &MqttConnect::clean(4, "bob", "phone").bytes(),
        ))
        .await;
    assert_eq!(bytes(&mut identified, 4).await, [0x20, 2, 0, 0]);
    let mut silent = open(&node, "/mqtt").await;
    assert_eq!(silent.closed().await.0, 4210);
    identified.raw(&masked(BINARY, true, &[0xC0, 0])).await;
    assert_eq!(bytes(&mut identified, 2).await, [0xD0, 0]);
    node.stop().await;
}
