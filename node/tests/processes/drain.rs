//! A node is stopped while messages flow: its clients are told when to come back, go on elsewhere, and lose nothing.

use serde_json::json;

use crate::support::{Cluster, Listener, Talker, Way};

#[tokio::test]
async fn a_node_that_is_stopped_says_goodbye_and_its_sessions_go_on_elsewhere_exactly() {
    let mut cluster = Cluster::start().await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol","dan"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let stopping = cluster.addr(owner);
    let mut bob = Listener::new("bob", Way::Socket, stopping, c).await;
    let mut carol = Listener::new("carol", Way::Stream, stopping, c).await;
    let mut dan = Listener::new("dan", Way::Poll, stopping, c).await;

    let talker = Talker::start(cluster.addr(second), "alice", c, "m");
    talker.says(20).await;
    let mut process = cluster.terminate(owner);
    for listener in [&mut bob, &mut carol] {
        listener.hears_the_end().await;
        let bye = listener.bye.take().expect("a goodbye");
        assert_eq!(bye["code"], 4012, "{bye}");
        assert!(bye["retry_ms"].as_u64().unwrap() <= 100, "{bye}");
    }
    talker.says(5).await;
    // The node stays until its sessions were fetched, by whichever way.
    for (listener, at) in [(&mut bob, second), (&mut carol, third), (&mut dan, third)] {
        let told = listener.connect(cluster.addr(at)).await;
        assert_eq!(
            (&told["resumed"], told.get("why")),
            (&json!(true), None),
            "{told}"
        );
    }
    let status = tokio::task::spawn_blocking(move || process.0.wait().unwrap());
    talker.says(5).await;
    let said = talker.stop().await;
    let last = said.last().unwrap().1;
    let expected: Vec<_> = said.iter().map(|(cid, _)| cid.as_str()).collect();
    for listener in [&mut bob, &mut carol, &mut dan] {
        listener.hears(last).await;
        assert_eq!(
            listener.keys(),
            expected,
            "each message once, in the sender's order"
        );
        // The client says that it has them: the old session may go.
        listener.confirm().await;
    }
    assert!(status.await.unwrap().success(), "an orderly stop is no failure");
    cluster.end();
}
