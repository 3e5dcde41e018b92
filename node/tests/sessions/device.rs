//! Going on with the last session of a device, without its id.

use serde_json::{Value, json};

use node::testkit::session::{
    confirm, connect, connect_by_device, event, introduced, is_refused, is_resumed, known, say,
};
use node::testkit::{Client, Incoming, Node, TestCluster};

async fn by_device(node: &Node, user: &str, device: &str, resume: &str) -> (Client, Value) {
    connect_by_device(node.addr(), user, device, resume).await
}

#[tokio::test]
async fn device_resumes_its_last_session_at_any_node() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut bob, _) = introduced(&cluster.nodes[0], &mut alice).await;
    confirm(&mut bob, 2).await;
    for (round, node) in [1, 2, 2, 0].into_iter().enumerate() {
        // Behind the last event that was confirmed, whatever the client has received meanwhile.
        let n = 2 + round as u64;
        drop(bob);
        let cid = format!("m{round}");
        say(&mut alice, "bob", &cid).await;
        let ready;
        (bob, ready) = by_device(&cluster.nodes[node], "bob", "phone", "device").await;
        is_resumed(&ready, n);
        assert_eq!(event(&mut bob, n + 1).await["cid"], cid);
        confirm(&mut bob, n + 1).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn client_without_memory_gets_all_that_it_never_confirmed() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, _) = introduced(&cluster.nodes[1], &mut alice).await;
    drop(bob);
    say(&mut alice, "bob", "a").await;
    // Twice: the client loses the second connection before it says a word.
    for node in [2, 0] {
        let (mut bob, ready) = by_device(&cluster.nodes[node], "bob", "phone", "device").await;
        is_resumed(&ready, 0);
        assert_eq!(event(&mut bob, 1).await["t"], "conv");
        assert_eq!(event(&mut bob, 2).await["cid"], "hello");
        assert_eq!(event(&mut bob, 3).await["cid"], "a");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn device_takes_over_its_connected_session() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut old, _) = introduced(&cluster.nodes[0], &mut alice).await;
    let (mut bob, ready) = by_device(&cluster.nodes[1], "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    assert_eq!(old.recv().await, Incoming::Close(1000, String::new()));
    say(&mut alice, "bob", "a").await;
    for n in 1..=2 {
        event(&mut bob, n).await;
    }
    assert_eq!(event(&mut bob, 3).await["cid"], "a");
    cluster.stop().await;
}

#[tokio::test]
async fn clean_start_of_a_device_ends_its_last_session() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (mut old, at) = introduced(&cluster.nodes[0], &mut alice).await;
    let (bob, ready) = by_device(&cluster.nodes[1], "bob", "phone", "clean").await;
    assert_eq!(
        (&ready["resumed"], ready.get("why")),
        (&json!(false), None),
        "{ready}"
    );
    assert_eq!(old.recv().await, Incoming::Close(1000, String::new()));
    // Only alice is left on the node of the old session, connected or detached.
    cluster.nodes[0].figure_is("rookery_sessions", 1).await;
    cluster.nodes[0].figure_is("rookery_sessions_detached", 0).await;
    drop(bob);
    let (_late, refused) = connect(&cluster.nodes[2], "bob", "phone", Some(&at)).await;
    is_refused(&refused, "unknown");
    cluster.stop().await;
}

#[tokio::test]
async fn device_without_a_session_begins_anew() {
    let cluster = TestCluster::start().await;
    let (bob, refused) = by_device(&cluster.nodes[0], "bob", "phone", "device").await;
    is_refused(&refused, "unknown");
    let (_tablet, refused) = by_device(&cluster.nodes[1], "bob", "tablet", "device").await;
    is_refused(&refused, "unknown");
    let (_eve, refused) = by_device(&cluster.nodes[1], "eve", "phone", "device").await;
    is_refused(&refused, "unknown");
    let (_dan, ready) = by_device(&cluster.nodes[2], "dan", "phone", "clean").await;
    assert_eq!(ready.get("why"), None, "{ready}");
    drop(bob);
    let (_bob, ready) = by_device(&cluster.nodes[2], "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    cluster.stop().await;
}

#[tokio::test]
async fn session_of_a_device_is_resumed_by_its_id_as_well() {
    let cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let (bob, at) = introduced(&cluster.nodes[0], &mut alice).await;
    drop(bob);
    let (mut bob, ready) = by_device(&cluster.nodes[1], "bob", "phone", "device").await;
    is_resumed(&ready, 0);
    // The answer was lost: the older id is valid until the client uses the session.
    drop(bob);
    let ready;
    (bob, ready) = connect(&cluster.nodes[2], "bob", "phone", Some(&at)).await;
    is_resumed(&ready, 2);
    confirm(&mut bob, 2).await;
    drop(bob);
    let at = known(&ready);
    let (_bob, ready) = by_device(&cluster.nodes[0], "bob", "phone", "device").await;
    is_resumed(&ready, 2);
    assert_ne!(ready["sid"], at.sid);
    cluster.stop().await;
}
