//! A user's rates, over all nodes.

use std::time::Duration;

use serde_json::json;

use node::testkit::{Client, HumanDuration, PATIENCE, TestCluster};

/// Sends until one is refused right behind one that was not: how long the user is to wait, in milliseconds.
async fn wait_ms(client: &mut Client, id: &mut i64) -> u64 {
    let mut sent = false;
    loop {
        *id += 1;
        let send = json!({"t":"send","id":*id,"to":"bob","cid":id.to_string(),"b":{},"echo":false});
        let answer = client.ask(*id, &send.to_string()).await;
        match answer["code"].as_str() {
            Some("rate_limited") if sent => return answer["retry_ms"].as_u64().unwrap(),
            Some("rate_limited" | "busy") => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => {
                assert_eq!(answer["t"], "ack", "{answer}");
                sent = true;
            }
        }
    }
}

/// Waits until a token takes as long as at the whole rate of one a second, or longer.
async fn until_divided(client: &mut Client, id: &mut i64, divided: bool) {
    let found = async {
        let mut alike = 0;
        while alike < 3 {
            let longer = wait_ms(client, id).await > 1_000;
            alike = if longer == divided { alike + 1 } else { 0 };
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("divided: {divided}"));
}

#[tokio::test]
async fn a_user_at_two_nodes_gets_about_the_one_rate_in_all() {
    let cluster = TestCluster::with(|config| {
        (config.limits.sends_per_second, config.tuning.sends_burst) = (1, Some(2));
        config.tuning.abuse_factor = 1_000;
        config.tuning.refused_send_timeout = HumanDuration::millis(50);
    })
    .await;
    let [one, two, _] = &cluster.nodes[..] else {
        panic!("there are three")
    };
    let (mut first, mut second) = (one.client("alice").await, two.client("alice").await);
    let mut id = 0;
    until_divided(&mut first, &mut id, true).await;
    until_divided(&mut second, &mut id, true).await;
    // The one that stays gets all of it again.
    drop(second);
    until_divided(&mut first, &mut id, false).await;
    cluster.stop().await;
}
