//! Sessions that say nothing.

use node::testkit::session::{connect, is_resumed, known, say};
use node::testkit::{Client, HumanDuration, Incoming, Node, PATIENCE, eventually, masked};
use serde_json::json;

const PONG: u8 = 10;

/// The payload of the next ping with that number or a later one; everything else is passed over.
async fn ping_behind(client: &mut Client, n: u64) -> Vec<u8> {
    let ping = async {
        loop {
            if let Incoming::Ping(payload) = client.recv().await
                && u64::from_be_bytes(payload[..].try_into().unwrap()) >= n
            {
                return payload;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ping)
        .await
        .expect("the server pings behind its last event")
}

#[tokio::test]
async fn pong_moves_the_delivered_cursor_and_trims_nothing() {
    let node = Node::with(|config| config.tuning.delivered_interval = HumanDuration::millis(50)).await;
    let mut alice = node.client("alice").await;
    let (mut bob, ready) = connect(&node, "bob", "phone", None).await;
    let at = known(&ready);
    say(&mut alice, "bob", "a").await;
    let msg = bob.expect("msg").await;
    let n = msg["n"].as_u64().unwrap();
    let payload = ping_behind(&mut bob, n).await;
    // Neither of these answers a ping: another length, and a number that was never sent.
    bob.raw(&masked(PONG, true, b"1234567")).await;
    bob.raw(&masked(PONG, true, &(n + 9).to_be_bytes())).await;
    assert_eq!(bob.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    bob.raw(&masked(PONG, true, &payload)).await;
    let receipt = alice.expect("receipt").await;
    assert_eq!((&receipt["u"], &receipt["delivered"]), (&json!("bob"), &msg["s"]));
    // The page may have ended between socket and script, so the message is sent again.
    drop(bob);
    node.figure_reaches("rookery_sessions_detached", 1).await;
    let (mut bob, ready) = connect(&node, "bob", "phone", Some(&at)).await;
    is_resumed(&ready, at.n);
    let again = bob.expect("msg").await;
    assert_eq!((&again["n"], &again["s"]), (&msg["n"], &msg["s"]));
}

#[tokio::test]
async fn a_connection_that_does_not_authenticate_is_ended() {
    let node = Node::with(|config| config.tuning.auth_timeout = HumanDuration::millis(200)).await;
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    assert_eq!(client.closed().await.0, 4210);
    assert_eq!(client.recv().await, Incoming::End);
}

#[tokio::test]
async fn client_that_answers_pings_stays_and_a_silent_one_is_closed() {
    let node = Node::with(|config| {
        config.tuning.ping_interval = Some(HumanDuration::millis(100));
        config.session.idle_timeout = HumanDuration::millis(600);
    })
    .await;
    let mut silent = node.client("alice").await;
    let mut alive = node.client("bob").await;
    let mut pings = 0;
    while pings < 20 {
        if let Incoming::Ping(payload) = alive.recv().await {
            pings += 1;
            alive.raw(&masked(10, true, &payload)).await;
        }
    }
    assert_eq!(alive.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    assert_eq!(silent.closed().await.0, 4014);
    assert_eq!(silent.recv().await, Incoming::End);
    node.figure_reaches("rookery_sessions_closed_total{code=\"4014\"}", 1)
        .await;
}

#[tokio::test]
async fn a_lost_connection_is_forgotten() {
    let node = Node::start().await;
    let client = node.client("alice").await;
    node.figure_reaches("rookery_sessions", 1).await;
    drop(client);
    eventually("the session ends", async || {
        node.figure("rookery_sessions").await == 0
    })
    .await;
}
