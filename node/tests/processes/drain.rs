//! A node is stopped while messages flow: its clients are told when to come back, go on elsewhere, and lose nothing.

use serde_json::json;

use node::testkit::{ProcessCluster, ReceivingClient, SendingClient, TestTransport};

#[tokio::test]
async fn sessions_of_a_stopped_node_resume_elsewhere_exactly() {
    let mut cluster = ProcessCluster::start().await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol","dan"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let stopping = cluster.addr(owner);
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, stopping, c).await;
    let mut carol = ReceivingClient::new("carol", TestTransport::Stream, stopping, c).await;
    let mut dan = ReceivingClient::new("dan", TestTransport::Poll, stopping, c).await;

    let sender = SendingClient::start(cluster.addr(second), "alice", c, "m");
    sender.says(20).await;
    let mut process = cluster.terminate(owner);
    for client in [&mut bob, &mut carol] {
        client.wait_for_close().await;
        let bye = client.bye.take().expect("a goodbye");
        assert_eq!(bye["code"], 4012, "{bye}");
        assert!(bye["retry_ms"].as_u64().unwrap() <= 100, "{bye}");
    }
    sender.says(5).await;
    // The node stays until its sessions were fetched, by whichever way.
    for (client, at) in [(&mut bob, second), (&mut carol, third), (&mut dan, third)] {
        let ready = client.connect(cluster.addr(at)).await;
        assert_eq!(
            (&ready["resumed"], ready.get("why")),
            (&json!(true), None),
            "{ready}"
        );
    }
    let status = tokio::task::spawn_blocking(move || process.0.wait().unwrap());
    sender.says(5).await;
    let sent = sender.stop().await;
    let last = sent.last().unwrap().1;
    let expected: Vec<_> = sent.iter().map(|(cid, _)| cid.as_str()).collect();
    for client in [&mut bob, &mut carol, &mut dan] {
        client.receives(last).await;
        assert_eq!(
            client.keys(),
            expected,
            "each message once, in the sender's order"
        );
        // The client says that it has them: the old session may go.
        client.confirm().await;
    }
    assert!(status.await.unwrap().success(), "an orderly stop is no failure");
    cluster.end();
}
