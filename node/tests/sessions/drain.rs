//! A node that is stopped in order: its sessions go elsewhere and miss nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use node::testkit::session::{Known, connect, event, is_resumed, known, say};
use node::testkit::{Client, HumanDuration, Incoming, TestCluster};
use serde_json::json;

#[tokio::test]
async fn the_sessions_of_a_node_that_is_drained_go_on_elsewhere() {
    let started = AtomicU64::new(0);
    let mut cluster = TestCluster::with(|config| {
        // The third is the one that is drained; nobody comes back to the others.
        if started.fetch_add(1, Ordering::Relaxed) == 2 {
            config.tuning.fetch_timeout = Some(HumanDuration::millis(60_000));
        }
        config.tuning.reconnect_spread = HumanDuration::millis(100);
    })
    .await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let drained = cluster.nodes.pop().unwrap();
    let mut clients = Vec::new();
    for user in ["bob", "carol", "dan"] {
        let (mut client, ready) = connect(&drained, user, "phone", None).await;
        say(&mut alice, user, &format!("to-{user}")).await;
        assert_eq!(event(&mut client, 1).await["t"], "conv");
        clients.push((user, client, known(&ready)));
    }
    let stop = tokio::spawn(drained.stop());
    for (at, (user, mut client, Known { sid, .. })) in clients.into_iter().enumerate() {
        // The one that read on has the goodbye, the others come back from before it.
        let n = if at == 0 {
            close_event(&mut client).await
        } else {
            1
        };
        drop(client);
        say(&mut alice, user, &format!("while-{user}")).await;
        let (mut client, ready) =
            connect(&cluster.nodes[at % 2], user, "phone", Some(&Known { sid, n })).await;
        is_resumed(&ready, n);
        if at > 0 {
            assert_eq!(event(&mut client, 2).await["cid"], format!("to-{user}"));
        }
        let next = if at == 0 { n + 1 } else { 3 };
        assert_eq!(event(&mut client, next).await["cid"], format!("while-{user}"));
        // It has arrived: the drained node need not wait for it any longer.
        let hb = json!({"t":"hb","id":1,"n":next}).to_string();
        assert_eq!(client.ask(1, &hb).await["t"], "hb");
    }
    stop.await.unwrap();
    cluster.stop().await;
}

/// Reads up to the goodbye and the end, and returns the goodbye's number.
async fn close_event(client: &mut Client) -> u64 {
    let bye = client.expect("bye").await;
    assert_eq!(bye["code"], 4012);
    assert!(bye["retry_ms"].as_u64().unwrap() <= 100, "{bye}");
    assert_eq!(client.closed().await.0, 4012);
    assert_eq!(client.recv().await, Incoming::End);
    bye["n"].as_u64().unwrap()
}
