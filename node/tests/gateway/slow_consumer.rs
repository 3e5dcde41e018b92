//! Clients that read slowly, or never.

use node::config::{Config, HumanSize};

use crate::support::{Client, Node, PATIENCE, TEXT, golden, masked};

/// A write that takes this long is not read by the server.
const STALL: std::time::Duration = std::time::Duration::from_millis(500);

fn small(config: &mut Config) {
    config.limits.sends_per_second = 100_000;
    config.tuning.sends_burst = Some(100_000);
    config.limits.outbound_queue_size = HumanSize::kib(32);
    config.tuning.unsent_size = HumanSize::kib(4);
}

/// A client of the user whose receive buffer is small, following the conversation with alice.
async fn lazy(node: &Node, user: &str) -> Client {
    let bearer = format!("Authorization: Bearer dev:{user}\r\n");
    let mut client = Client::upgrade(node.addr(), &bearer, Some(8_192)).await;
    client.expect("ready").await;
    client
}

/// Sends until the condition holds.
async fn send_until(alice: &mut Client, to: &str, condition: impl AsyncFn() -> bool) {
    let body = "x".repeat(4_000);
    let sending = async {
        for i in 0.. {
            let text = format!(
                r#"{{"t":"send","id":{i},"to":"{to}","cid":"{to}{i}","b":{{"x":"{body}"}},"echo":false}}"#
            );
            assert_eq!(alice.ask(i, &text).await["t"], "ack");
            if i % 16 == 0 && condition().await {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, sending)
        .await
        .expect("the condition comes to hold");
}

#[tokio::test]
async fn client_that_leaves_with_unread_answers_is_forgotten() {
    let node = Node::with(|config| {
        small(config);
        config.limits.queries_per_second = 100_000;
        config.tuning.queries_burst = Some(100_000);
    })
    .await;
    let mut bob = lazy(&node, "bob").await;
    let before = node.figure("rookery_frames_in_total").await;
    let hb = masked(TEXT, true, br#"{"t":"hb","id":1}"#);
    // As much as the server reads: then its session waits for the client to read.
    let blocked = async {
        for round in 0.. {
            let written = tokio::time::timeout(STALL, bob.raw(&hb.repeat(1_000))).await;
            if written.is_err() {
                return round;
            }
        }
        unreachable!()
    };
    let rounds = tokio::time::timeout(PATIENCE, blocked).await.unwrap();
    assert!(rounds > 0);
    node.figure_reaches("rookery_frames_in_total", before + 1).await;
    drop(bob);
    node.figure_is("rookery_sessions", 0).await;
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_ended_without_harm_to_others() {
    let node = Node::with(small).await;
    let mut alice = node.client("alice").await;
    let mut carol = node.client("carol").await;
    let bob = lazy(&node, "bob").await;
    let ended = "rookery_sessions_closed_total{code=\"4010\"}";
    send_until(&mut alice, "bob", async || node.figure(ended).await >= 1).await;
    // Ended means that its connection is gone too, although it never read the close frame.
    let gone = async {
        while node.figure("rookery_sessions").await > 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the session is over");
    assert_eq!(carol.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    let mut bob = bob;
    let cut = async { while bob.recv().await != crate::support::Incoming::End {} };
    tokio::time::timeout(PATIENCE, cut)
        .await
        .expect("the connection was cut");
}

#[tokio::test]
async fn a_slow_client_gets_a_resync_and_the_numbering_continues() {
    let node = Node::with(|config| {
        small(config);
        config.tuning.slow_again = node::config::HumanDuration::millis(0);
    })
    .await;
    let mut alice = node.client("alice").await;
    let mut bob = lazy(&node, "bob").await;
    send_until(&mut alice, "bob", async || {
        node.figure("rookery_session_resyncs_total").await >= 1
    })
    .await;
    let (mut last, mut resync) = (0, None);
    while resync.is_none() {
        let text = bob.text().await;
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        let Some(n) = event["n"].as_u64() else { continue };
        if event["t"] == "resync" {
            assert_eq!(golden(&text), format!(r#"{{"n":{n},"t":"resync","why":"slow"}}"#));
            assert!(n > last + 1, "events were dropped before it");
            resync = Some(n);
        } else {
            assert_eq!(n, last + 1);
        }
        last = n;
    }
    // A sync brings what was missed, as a window that ends at the present.
    let delta = bob.ask(77, r#"{"t":"sync","id":77,"have":[]}"#).await;
    assert_eq!(delta["as_of"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_asks_without_reading_stops_itself() {
    let node = Node::with(|config| {
        small(config);
        config.limits.queries_per_second = 100_000;
        config.tuning.queries_burst = Some(100_000);
    })
    .await;
    let mut alice = node.client("alice").await;
    let body = "x".repeat(8_000);
    let mut conv = String::new();
    for i in 0..50 {
        let text =
            format!(r#"{{"t":"send","id":{i},"to":"bob","cid":"{i}","b":{{"x":"{body}"}},"echo":false}}"#);
        conv = alice.ask(i, &text).await["c"].as_str().unwrap().to_owned();
    }
    // 40 pages of 400 KB would be 16 MB: none is made before the client reads.
    let mut bob = lazy(&node, "bob").await;
    for i in 0..40 {
        bob.send(&format!(r#"{{"t":"hist","id":{i},"c":"{conv}"}}"#))
            .await;
    }
    let before = node.figure("rookery_bytes_out_total").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let made = node.figure("rookery_bytes_out_total").await - before;
    assert!(
        made < 4 << 20,
        "{made} bytes were made for a client that reads nothing"
    );
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 40 {
        let page = bob.expect("hist").await;
        answered.insert(page["id"].as_i64().unwrap());
    }
}
