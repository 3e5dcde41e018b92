//! A node is killed with its sessions: their clients go on elsewhere and have everything, once.

use serde_json::json;

use crate::support::{Cluster, Listener, Talker, Way, ask};

/// The node that dies has the sessions and owns the conversation: the worst of all.
#[tokio::test]
async fn clients_of_a_node_that_is_killed_while_messages_flow_go_on_elsewhere_and_miss_nothing() {
    let mut cluster = Cluster::start().await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol","dan","eve"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let dying = cluster.addr(owner);
    let mut bob = Listener::new("bob", Way::Socket, dying, c).await;
    let mut carol = Listener::new("carol", Way::Stream, dying, c).await;
    let mut dan = Listener::new("dan", Way::Poll, dying, c).await;
    // Eve's session is on a node that stays.
    let mut eve = Listener::new("eve", Way::Socket, cluster.addr(second), c).await;

    let talker = Talker::start(cluster.addr(third), "alice", c, "m");
    talker.says(20).await;
    let some = 5 + 10;
    bob.hears(some).await;
    carol.hears(some).await;
    dan.hears(some).await;
    cluster.kill(owner);
    for listener in [&mut bob, &mut carol, &mut dan] {
        listener.hears_the_end().await;
    }

    // What waited for them died with the node, and they are told so at once, not after a time.
    for (listener, at) in [(&mut bob, second), (&mut carol, third), (&mut dan, second)] {
        let told = listener.connect(cluster.addr(at)).await;
        assert_eq!(
            (&told["resumed"], &told["why"], &told["n"]),
            (&json!(false), &json!("unknown"), &json!(0))
        );
        listener.sync().await;
    }
    // One whose node lives goes on exactly where it was, at another node, although nobody may own the conversation now.
    let told = eve.connect(cluster.addr(third)).await;
    assert_eq!(
        (&told["resumed"], told.get("why")),
        (&json!(true), None),
        "{told}"
    );

    talker.says(20).await;
    let said = talker.stop().await;
    let last = said.last().unwrap().1;
    let expected: Vec<_> = said.iter().map(|(cid, _)| cid.as_str()).collect();
    for listener in [&mut bob, &mut carol, &mut dan, &mut eve] {
        listener.hears(last).await;
        assert_eq!(
            listener.keys(),
            expected,
            "each message once, in the sender's order"
        );
        assert_eq!(
            listener.log.keys().copied().collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>()
        );
    }
    assert_eq!(bob.log, carol.log);
    assert_eq!(bob.log, dan.log);
    assert_eq!(bob.log, eve.log);
    for (cid, s) in &said {
        assert_eq!(bob.log[s]["cid"], json!(cid), "where the sender was told");
    }

    // A repeated send is the same message on any node, also on one that was away.
    cluster.restart().await;
    for at in 0..3 {
        let (cid, s) = &said[said.len() / 2];
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
    for (listener, cid) in [(&mut carol, "late-1"), (&mut dan, "late-2")] {
        let path = format!("/v1/conversations/{c}/messages");
        let (_, ack) = ask(
            cluster.addr(second),
            "alice",
            ("POST", &path, cid),
            json!({"b":{}}),
        )
        .await;
        let told = listener.connect(cluster.addr(owner)).await;
        assert_eq!(told["resumed"], true, "{told}");
        listener.hears(ack["s"].as_u64().unwrap()).await;
    }
    cluster.end();
}
