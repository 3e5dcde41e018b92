//! What has arrived and what was read: replicated, forward only, many for few log entries.

use futures::future::join_all;
use node::testkit::{ConversationOp, MembersQuery, ServiceCluster, ServiceNode, eventually, user};
use protocol::ConversationId;

/// How far somebody is, as a member is told on this node: delivered and read.
async fn seen(node: &ServiceNode, by: &str, conv: &ConversationId, of: &str) -> Option<(u64, u64)> {
    let question = MembersQuery {
        conv: conv.clone(),
        user: user(by),
        after: None,
        limit: 100,
    };
    let page = node.conversations.query(&question).await.ok()?;
    let member = page.items.into_iter().find(|member| member.user == user(of))?;
    member.cursors.map(|cursors| (cursors.delivered, cursors.read))
}

/// The entries that the log of a conversation's shard holds or has held.
fn entries(cluster: &ServiceCluster, conv: &ConversationId) -> u64 {
    let (owner, _) = cluster.owner_and_others(conv);
    let cluster = &cluster.node(owner).cluster;
    let shard = cluster.shard_of(conv);
    let status = cluster.status();
    status.shards[usize::from(shard.0)].local.as_ref().unwrap().last
}

#[actix::test]
async fn a_thousand_receipts_cost_few_log_entries() {
    let cluster = ServiceCluster::start(3).await;
    let readers: Vec<String> = (0..20).map(|i| format!("reader-{i:02}")).collect();
    let names: Vec<&str> = readers.iter().map(String::as_str).collect();
    let conv = cluster.nodes[0].group("alice", &names).await;
    let mut seqs = Vec::new();
    for i in 0..50 {
        let done = cluster.nodes[0]
            .send_until_acked("alice", &conv, &format!("m{i}"))
            .await;
        seqs.push(done.s);
    }

    let before = entries(&cluster, &conv);
    let mut receipts = Vec::new();
    for s in &seqs {
        for (at, name) in names.iter().enumerate() {
            receipts.push(cluster.nodes[at % 3].command(name, &conv, "", ConversationOp::Read { s: *s }));
        }
    }
    assert_eq!(receipts.len(), 1_000);
    for done in join_all(receipts).await {
        done.unwrap();
    }
    let cost = entries(&cluster, &conv) - before;
    println!("1000 receipts of 20 readers on 3 nodes: {cost} log entries");
    assert!(cost <= 50, "{cost} log entries");

    let last = *seqs.last().unwrap();
    for name in names {
        assert_eq!(
            seen(&cluster.nodes[1], "alice", &conv, name).await,
            Some((last, last))
        );
    }
    cluster.stop().await;
}

#[actix::test]
async fn an_absent_sender_learns_later_who_has_read() {
    let mut cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob", "carol"]).await;
    let s = cluster.nodes[0].send("alice", &conv, "hello").await.unwrap().s;
    // Nobody listens for alice. Two devices of bob's get the message, one later than the other; carol reads it.
    let run = async |node: usize, by: &str, op| {
        cluster.nodes[node].command(by, &conv, "", op).await.unwrap();
    };
    run(1, "bob", ConversationOp::Delivered { s }).await;
    run(2, "bob", ConversationOp::Delivered { s: s - 1 }).await;
    run(2, "carol", ConversationOp::Read { s }).await;
    run(1, "carol", ConversationOp::Read { s: 1 }).await;

    let (owner, _) = cluster.owner_and_others(&conv);
    for crashed in [false, true] {
        if crashed {
            cluster.crash(owner).await;
        }
        for node in &cluster.nodes {
            eventually("who has read", async || {
                seen(node, "alice", &conv, "carol").await == Some((s, s))
            })
            .await;
            let (delivered, read) = seen(node, "alice", &conv, "bob").await.unwrap();
            assert_eq!(delivered, s, "the furthest of any device");
            assert!(read < s, "arrived is not read");
        }
    }
    cluster.stop().await;
}

#[actix::test]
async fn the_list_shows_the_peer_of_a_direct_conversation() {
    let cluster = ServiceCluster::start(1).await;
    let node = &cluster.nodes[0];
    let conv = ConversationId::direct(&user("alice"), &user("bob"));
    let op = ConversationOp::Send {
        direct: Some(user("bob")),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    let s = node.command("alice", &conv, "m", op).await.unwrap().s;
    node.command("bob", &conv, "", ConversationOp::Delivered { s })
        .await
        .unwrap();
    for read in [false, true] {
        if read {
            node.command("bob", &conv, "", ConversationOp::Read { s })
                .await
                .unwrap();
        }
        let mut peer = None;
        eventually("the list", async || {
            let page = node.conversations.inbox(&user("alice"), None, 10).await.unwrap();
            peer = page
                .items
                .into_iter()
                .find(|item| item.conversation == conv)
                .and_then(|item| item.peer);
            peer.is_some()
        })
        .await;
        let (peer, view) = (
            peer.unwrap(),
            node.conversations.open(&user("alice"), &conv, None).await,
        );
        assert_eq!((peer.user.as_str(), peer.delivered), ("bob", s));
        assert_eq!(peer.read >= s, read, "{peer:?}");
        assert_eq!(view.unwrap().peer, Some(peer));
    }
    cluster.stop().await;
}

#[actix::test]
async fn in_a_large_conversation_no_cursor_is_sent_to_others() {
    let cluster = ServiceCluster::start(1).await;
    let node = &cluster.nodes[0];
    let others: Vec<String> = (0..255).map(|i| format!("u{i:03}")).collect();
    let names: Vec<&str> = others.iter().map(String::as_str).collect();
    let conv = node.group("alice", &names).await;
    let s = node.send("alice", &conv, "hello").await.unwrap().s;
    let (alice, _) = node.listen("alice", &conv).await;
    node.command("u000", &conv, "", ConversationOp::Read { s })
        .await
        .unwrap();
    eventually("the receipt", async || !alice.whispers.borrow().is_empty()).await;
    assert_eq!(seen(node, "alice", &conv, "u000").await, Some((s, s)));

    let invite = ConversationOp::Invite {
        who: user("one-more"),
    };
    let last = node.command("alice", &conv, "invite", invite).await.unwrap().s;
    let (device, _) = node.listen("u001", &conv).await;
    node.hub.attach(&user("u001"), device.clone());
    node.command("u001", &conv, "", ConversationOp::Read { s: last })
        .await
        .unwrap();
    // One's own other devices are told all the same.
    eventually("the own receipt", async || !device.whispers.borrow().is_empty()).await;
    let receipts = alice.whispers.take();
    assert!(
        receipts.iter().all(|receipt| !receipt.contains("u001")),
        "{receipts:?}"
    );
    assert_eq!(seen(node, "alice", &conv, "u001").await, None);
    cluster.stop().await;
}
