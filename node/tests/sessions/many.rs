//! Users with more conversations than a session follows, over three nodes.

use serde_json::{Value, json};

use node::testkit::{Client, HumanDuration, TestCluster};

async fn send(client: &mut Client, c: &str, cid: &str) -> u64 {
    let send = json!({"t":"send","id":7,"c":c,"cid":cid,"b":{}}).to_string();
    loop {
        let answer = client.ask(7, &send).await;
        if answer["t"] == "ack" {
            return answer["s"].as_u64().unwrap();
        }
        // An owner changes: the same again.
        assert_eq!(answer["temp"], true, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Reads until the client has the event, or was told that it is there.
async fn learns(client: &mut Client, c: &str, s: u64) -> Value {
    loop {
        let frame = client.json().await;
        let reached = match frame["t"].as_str() {
            Some("msg") => frame["s"].as_u64(),
            Some("activity") => frame["last"]["s"].as_u64(),
            _ => None,
        };
        if frame["c"] == *c && reached.is_some_and(|reached| reached >= s) {
            return frame;
        }
    }
}

#[tokio::test]
async fn missed_events_come_at_another_node_after_owner_changes() {
    let mut cluster = TestCluster::with(|config| {
        config.limits.subscriptions_per_session = 2;
        config.tuning.activity_interval = HumanDuration::millis(1_000);
    })
    .await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let mut made = Vec::new();
    for i in 0..8 {
        let create = json!({"t":"create","id":1,"kind":"group","cid":format!("g{i}"),"members":["bob"]});
        made.push(
            alice.ask(1, &create.to_string()).await["c"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let mut bob = cluster.nodes[1].client("bob").await;
    for (i, c) in made.iter().enumerate() {
        let s = send(&mut alice, c, &format!("a{i}")).await;
        learns(&mut bob, c, s).await;
    }
    // The third node goes, and with it what it owned.
    cluster.nodes.remove(2).stop().await;
    for (i, c) in made.iter().enumerate() {
        let s = send(&mut alice, c, &format!("b{i}")).await;
        learns(&mut bob, c, s).await;
    }
    cluster.stop().await;
}
