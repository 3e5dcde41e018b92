//! A node that an operator removes from the cluster while it runs and has clients.

use std::time::Duration;

use node::testkit::session::{connect, event, is_refused, known, say};
use node::testkit::{Client, PATIENCE, TestCluster};

#[tokio::test]
async fn removed_node_closes_its_sessions_and_reports_the_reason() {
    let mut cluster = TestCluster::start().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let removed = cluster.nodes.pop().unwrap();
    let (mut bob, ready) = connect(&removed, "bob", "phone", None).await;
    say(&mut alice, "bob", "before").await;
    assert_eq!(event(&mut bob, 1).await["t"], "conv");
    assert_eq!(event(&mut bob, 2).await["cid"], "before");

    let number = removed.running.cluster().node_id();
    cluster.nodes[0]
        .running
        .cluster()
        .remove_node(number)
        .await
        .unwrap();

    assert_eq!(bob.closed().await.0, 4015);
    let (status, body) = removed.get("/readyz").await;
    assert_eq!(status, 503, "{body}");
    assert!(
        body.contains("removed from the cluster") && body.contains("empty storage.dir"),
        "{body}"
    );
    // What it owned is owned by others, and bob goes on there with everything.
    let sent = async {
        say(&mut alice, "bob", "after").await;
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap();
    let (mut bob, resumed) = connect(&cluster.nodes[1], "bob", "phone", Some(&known(&ready))).await;
    if resumed["resumed"] != true {
        is_refused(&resumed, "unknown");
        sees(&mut bob, "after").await;
    }
    removed.stop().await;
    cluster.stop().await;
}

/// Waits until the client's `sync` has the message.
async fn sees(client: &mut Client, cid: &str) {
    for id in 1.. {
        let delta = client
            .ask(id, &format!(r#"{{"t":"sync","id":{id},"have":[]}}"#))
            .await;
        if delta.to_string().contains(cid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
