//! Hostile clients of ActionCable: malformed, oversized, deep, slow, and floods.

use serde_json::{Value, json};

use node::testkit::cable::{BASE, Cable, EXTENDED, INBOX};
use node::testkit::{Client, HumanSize, Node, TEXT, masked};

use crate::unread::is_not_read_until_it_reads;

#[tokio::test]
async fn malformed_frames_are_ignored_and_the_connection_stays() {
    let node = Node::start().await;
    let mut bob = Cable::of(node.addr(), EXTENDED, "bob").await;
    let deep = format!(
        r#"{{"command":"whisper","identifier":"x","data":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for text in [
        "",
        "nonsense",
        "[]",
        "{",
        r#"{"command":"dance","identifier":"x"}"#,
        r#"{"command":"subscribe"}"#,
        r#"{"command":"message","identifier":"{\"channel\":\"InboxChannel\"}"}"#,
        r#"{"command":"message","identifier":"nonsense","data":"{}"}"#,
        r#"{"command":"history","identifier":"unknown"}"#,
        r#"{"command":"unsubscribe","identifier":"unknown"}"#,
        r#"{"command":"pong"}"#,
        &deep,
    ] {
        bob.client.send(text).await;
    }
    bob.is_silent(INBOX).await;
}

#[tokio::test]
async fn deep_or_ambiguous_data_is_refused_at_its_identifier() {
    let node = Node::start().await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let deep = format!(
        r#"{{"action":"send","b":{}{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    for data in [
        &*deep,
        "[]",
        "nonsense",
        r#"{"action":"send","cid":"a","cid":"b"}"#,
    ] {
        bob.command("message", INBOX, json!({"data": data})).await;
        let refusal = bob.next().await;
        assert_eq!(refusal["message"]["code"], "bad_request", "{refusal}");
    }
}

#[tokio::test]
async fn oversized_and_binary_messages_end_the_connection() {
    let node = Node::start().await;
    let invalid = json!({"type": "disconnect", "reason": "invalid_request", "reconnect": false});
    for (message, code) in [
        (masked(TEXT, true, &vec![b' '; 70_000]), 1009),
        (masked(2, true, b"\x01"), 1003),
        (masked(TEXT, true, b"\xff"), 1007),
    ] {
        let mut bob = Cable::of(node.addr(), BASE, "bob").await;
        bob.client.raw(&message).await;
        assert_eq!(bob.next().await, invalid);
        assert_eq!(bob.client.closed().await.0, code);
    }
}

#[tokio::test]
async fn flood_of_ignored_frames_ends_the_connection() {
    let node = Node::start().await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let rejected = json!({"command": "subscribe", "identifier": "nonsense"}).to_string();
    for _ in 0..5_000 {
        bob.client.raw(&masked(TEXT, true, rejected.as_bytes())).await;
    }
    assert_eq!(bob.client.closed().await.0, 4208);
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_bounded() {
    let node = Node::with(|config| config.limits.subscriptions_per_session = 3).await;
    let mut bob = Cable::of(node.addr(), BASE, "bob").await;
    let inbox = |n: usize| json!({"channel": "InboxChannel", "n": n}).to_string();
    for n in 0..3 {
        assert_eq!(bob.subscribe(&inbox(n)).await, "confirm_subscription");
    }
    assert_eq!(bob.subscribe(&inbox(3)).await, "reject_subscription");
    bob.command("unsubscribe", &inbox(0), json!({})).await;
    assert_eq!(bob.subscribe(&inbox(3)).await, "confirm_subscription");
}

#[tokio::test]
async fn client_that_reads_nothing_is_not_read_either() {
    let node = Node::with(|config| {
        config.tuning.control_frames_per_second = 1_000_000;
        config.limits.outbound_queue_size = HumanSize::kib(16);
    })
    .await;
    let headers = format!("Sec-WebSocket-Protocol: {BASE}, anycable-token.dev.bob\r\n");
    let mut bob = Client::upgrade_at(node.addr(), "/cable", &headers, Some(4_096)).await;
    assert_eq!(bob.json().await["type"], "welcome");
    // The rejection of an identifier names it.
    let pad = "x".repeat(200);
    let frame =
        |number: usize| json!({"command": "subscribe", "identifier": format!("{number}-{pad}")}).to_string();
    let number_of = |text: &str| {
        let rejected: Value = serde_json::from_str(text).unwrap();
        rejected["identifier"].as_str()?.split('-').next()?.parse().ok()
    };
    is_not_read_until_it_reads(&node, &mut bob, frame, number_of).await;
}
