//! Sessions that say nothing.

use node::testkit::{Client, HumanDuration, Incoming, Node, eventually, masked};

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
        config.session.ping_interval = HumanDuration::millis(100);
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
