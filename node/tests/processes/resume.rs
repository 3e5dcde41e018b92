//! A node is killed with its sessions: their clients go on elsewhere and have everything, once.

use serde_json::json;

use node::testkit::{ProcessCluster, ReceivingClient, SendingClient, TestTransport, ask};

/// The node that dies has the sessions and owns the conversation: the worst of all.
#[tokio::test]
async fn clients_of_a_killed_node_continue_elsewhere_without_loss() {
    let mut cluster = ProcessCluster::start().await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol","dan","eve"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let dying = cluster.addr(owner);
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, dying, c).await;
    let mut carol = ReceivingClient::new("carol", TestTransport::Stream, dying, c).await;
    let mut dan = ReceivingClient::new("dan", TestTransport::Poll, dying, c).await;
    // Eve's session is on a node that stays.
    let mut eve = ReceivingClient::new("eve", TestTransport::Socket, cluster.addr(second), c).await;

    let sender = SendingClient::start(cluster.addr(third), "alice", c, "m");
    sender.says(20).await;
    let some = 5 + 10;
    bob.receives(some).await;
    carol.receives(some).await;
    dan.receives(some).await;
    cluster.kill(owner);
    for client in [&mut bob, &mut carol, &mut dan] {
        client.wait_for_close().await;
    }

    // What waited for them died with the node, and they are told so at once, not after a time.
    for (client, at) in [(&mut bob, second), (&mut carol, third), (&mut dan, second)] {
        let ready = client.connect(cluster.addr(at)).await;
        assert_eq!(
            (&ready["resumed"], &ready["why"], &ready["n"]),
            (&json!(false), &json!("unknown"), &json!(0))
        );
        client.sync().await;
    }
    // One whose node lives goes on exactly where it was, at another node, although nobody may own the conversation now.
    let ready = eve.connect(cluster.addr(third)).await;
    assert_eq!(
        (&ready["resumed"], ready.get("why")),
        (&json!(true), None),
        "{ready}"
    );

    sender.says(20).await;
    let sent = sender.stop().await;
    let last = sent.last().unwrap().1;
    let expected: Vec<_> = sent.iter().map(|(cid, _)| cid.as_str()).collect();
    for client in [&mut bob, &mut carol, &mut dan, &mut eve] {
        client.receives(last).await;
        assert_eq!(
            client.keys(),
            expected,
            "each message once, in the sender's order"
        );
        assert_eq!(
            client.log.keys().copied().collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>()
        );
    }
    assert_eq!(bob.log, carol.log);
    assert_eq!(bob.log, dan.log);
    assert_eq!(bob.log, eve.log);
    for (cid, s) in &sent {
        assert_eq!(bob.log[s]["cid"], json!(cid), "where the sender was told");
    }

    // A repeated send is the same message on any node, also on one that was away.
    cluster.restart().await;
    for at in 0..3 {
        let (cid, s) = &sent[sent.len() / 2];
        let path = format!("/v1/conversations/{c}/messages");
        let again = json!({"b":{"text":"another"}});
        let (status, ack) = ask(cluster.addr(at), "alice", ("POST", &path, cid), again).await;
        assert_eq!(
            (status, &ack["s"], &ack["dup"]),
            (200, &json!(s), &json!(true)),
            "{ack}"
        );
    }

    // Whoever listens without a socket goes on at the node that is back, and misses nothing of what came meanwhile.
    for (client, cid) in [(&mut carol, "late-1"), (&mut dan, "late-2")] {
        let path = format!("/v1/conversations/{c}/messages");
        let (_, ack) = ask(
            cluster.addr(second),
            "alice",
            ("POST", &path, cid),
            json!({"b":{}}),
        )
        .await;
        let ready = client.connect(cluster.addr(owner)).await;
        assert_eq!(ready["resumed"], true, "{ready}");
        client.receives(ack["s"].as_u64().unwrap()).await;
    }
    cluster.end();
}
