//! `rookery chat` with several nodes goes on at another one, when its own dies, stands still or drains.

use std::net::SocketAddr;

use node::testkit::{ProcessCluster, TerminalClient, eventually};

/// Waits until a client shows a text.
async fn shows(client: &TerminalClient, text: &str) {
    let what = format!("the client shows {text:?}");
    eventually(&what, async || client.screen().contains(text)).await;
}

/// Starts Alice at the first node, with the second one in reserve, and Bob at the third; each opens the conversation.
async fn talking(cluster: &ProcessCluster) -> (TerminalClient, TerminalClient) {
    let nodes: Vec<SocketAddr> = (0..3).map(|at| cluster.addr(at)).collect();
    let mut alice = TerminalClient::start("alice", &nodes[..2]);
    let mut bob = TerminalClient::start("bob", &nodes[2..]);
    shows(&alice, &format!("at {}; /help", nodes[0])).await;
    shows(&bob, &format!("at {}; /help", nodes[2])).await;
    alice.types("/open bob");
    shows(&alice, "-- with bob").await;
    alice.types("before");
    shows(&alice, "sent #3").await;
    bob.types("/open alice");
    shows(&bob, "alice: before (#3)").await;
    (alice, bob)
}

#[tokio::test]
async fn terminal_client_of_a_killed_node_continues_at_another() {
    let mut cluster = ProcessCluster::start().await;
    let (mut alice, mut bob) = talking(&cluster).await;
    cluster.kill(0);
    alice.types("during");
    shows(&alice, &format!("at {}, new session", cluster.addr(1))).await;
    shows(&alice, "sent #4").await;
    shows(&bob, "alice: during (#4)").await;
    bob.types("after");
    shows(&alice, "bob: after (#5)").await;
    alice.types("again");
    shows(&bob, "alice: again (#6)").await;
    let screen = bob.screen();
    for text in ["before", "during", "again"] {
        let line = format!("alice: {text} ");
        assert_eq!(screen.matches(&line).count(), 1, "{line:?} once in:\n{screen}");
    }
    cluster.end();
}

#[tokio::test]
async fn terminal_client_of_a_silent_node_continues_at_another() {
    let cluster = ProcessCluster::with(&[("session.idle_timeout", "4s")]).await;
    let (alice, mut bob) = talking(&cluster).await;
    cluster.suspend(0);
    shows(&alice, &format!("at {}, new session", cluster.addr(1))).await;
    bob.types("after");
    shows(&alice, "bob: after (#4)").await;
    cluster.end();
}

#[tokio::test]
async fn terminal_client_of_a_draining_node_resumes_at_another() {
    let mut cluster = ProcessCluster::start().await;
    let (mut alice, mut bob) = talking(&cluster).await;
    let mut stopping = cluster.terminate(0);
    shows(&alice, &format!("at {}, session resumed", cluster.addr(1))).await;
    bob.types("after");
    shows(&alice, "bob: after (#4)").await;
    alice.types("again");
    shows(&bob, "alice: again (#5)").await;
    assert_eq!(alice.screen().matches("bob: after ").count(), 1, "once");
    let status = tokio::task::spawn_blocking(move || stopping.0.wait().unwrap());
    assert!(status.await.unwrap().success(), "an orderly stop is no failure");
    cluster.end();
}
