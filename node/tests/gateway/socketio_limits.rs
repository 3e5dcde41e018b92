//! Hostile clients of Socket.IO: malformed, oversized, deep, slow, and floods.

use serde_json::json;

use node::testkit::{Client, HumanDuration, HumanSize, Node, SocketIoClient, TEXT, masked};

use crate::unread::is_not_read_until_it_reads;

#[tokio::test]
async fn malformed_packets_end_the_connection() {
    let node = Node::start().await;
    let deep = format!(r#"42["send",{}{}]"#, "[".repeat(20_000), "]".repeat(20_000));
    for packet in [
        "abc",
        "",
        "2",
        "4abc",
        "42{}",
        r#"42abc["send",{}]"#,
        r#"42["connect",{}]"#,
        r#"4511-["send",{}]"#,
        r#"42/other,["send",{}]"#,
        "40/a\x1e41,",
        r#"40{"token":"dev:bob"}"#,
        "5",
        "bAQID",
        &deep,
    ] {
        let mut bob = SocketIoClient::of(node.addr(), "bob").await;
        bob.client.send(packet).await;
        let (packets, code) = bob.last_packets().await;
        let packet = &packet[..packet.len().min(40)];
        assert_eq!(code, 4400, "{packet}");
        assert_eq!(packets.last().unwrap(), "41", "{packet}");
    }
    for packet in [r#"42["send",{}]"#, "41"] {
        let mut unconnected = SocketIoClient::open(node.addr()).await;
        unconnected.client.send(packet).await;
        assert_eq!(unconnected.last_packets().await, (vec![], 4400), "before CONNECT");
    }
}

#[tokio::test]
async fn binary_messages_belong_to_a_packet() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    bob.client.raw(&masked(2, true, b"\x01")).await;
    assert_eq!(bob.last_packets().await.1, 4400);
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    bob.client
        .send(r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#)
        .await;
    for _ in 0..2 {
        bob.client.raw(&masked(2, true, &[0; 40_000])).await;
    }
    assert_eq!(bob.last_packets().await.1, 1009, "the attachments count together");
}

#[tokio::test]
async fn oversized_messages_end_the_connection() {
    let node = Node::start().await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    bob.client.raw(&masked(TEXT, true, &vec![b' '; 70_000])).await;
    assert_eq!(bob.last_packets().await.1, 1009);
    let mut unconnected = SocketIoClient::open(node.addr()).await;
    let token = json!({"token": "x".repeat(13_000)});
    unconnected.client.send(&format!("40{token}")).await;
    assert_eq!(unconnected.last_packets().await.1, 1009, "before CONNECT");
}

#[tokio::test]
async fn flood_of_packets_without_a_request_ends_the_connection() {
    let node = Node::start().await;
    for packet in ["3", "6", "43[]", "40/other,"] {
        let mut bob = SocketIoClient::of(node.addr(), "bob").await;
        let packet = if packet == "43[]" { "437[]" } else { packet };
        for _ in 0..5_000 {
            bob.client.raw(&masked(TEXT, true, packet.as_bytes())).await;
        }
        assert_eq!(bob.last_packets().await.1, 4208, "{packet}");
    }
}

#[tokio::test]
async fn commands_above_the_rate_wait_instead_of_being_refused() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 5;
    })
    .await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    for n in 0..30 {
        let send = json!(["send", {"to": "alice", "cid": format!("k{n}"), "b": {}}]);
        bob.client.send(&format!("42{n}{send}")).await;
    }
    for n in 0..30 {
        assert_eq!(bob.response(n).await["t"], "ack");
    }
}

#[tokio::test]
async fn client_that_answers_no_ping_is_closed() {
    let node = Node::with(|config| {
        config.tuning.ping_interval = Some(HumanDuration::millis(300));
        config.session.idle_timeout = HumanDuration::millis(600);
    })
    .await;
    let mut bob = SocketIoClient::of(node.addr(), "bob").await;
    assert_eq!(
        (&bob.open["pingInterval"], &bob.open["pingTimeout"]),
        (&json!(300), &json!(300))
    );
    for _ in 0..4 {
        assert_eq!(bob.client.text().await, "2");
        bob.client.send("3").await;
    }
    let (packets, code) = bob.last_packets().await;
    assert_eq!(code, 4014);
    assert!(packets.iter().all(|packet| packet == "2"), "{packets:?}");
}

#[tokio::test]
async fn client_that_reads_nothing_is_not_read_either() {
    let node = Node::with(|config| {
        config.tuning.control_frames_per_second = 1_000_000;
        config.limits.outbound_queue_size = HumanSize::kib(16);
    })
    .await;
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut bob = Client::upgrade_at(node.addr(), path, "", Some(4_096)).await;
    bob.send(r#"40{"token":"dev:bob"}"#).await;
    // The refusal of a namespace names it.
    let pad = "x".repeat(200);
    let frame = |number: usize| format!("40/{number}-{pad},");
    let number_of = |packet: &str| {
        let refused = packet.strip_prefix("44/")?;
        refused.split('-').next()?.parse().ok()
    };
    is_not_read_until_it_reads(&node, &mut bob, frame, number_of).await;
}
