//! What the conversation side promises, over three members and whatever the network does.
#![expect(clippy::unwrap_used, reason = "tests")]

mod activity;
mod cursors;
mod hooks;
mod inbox;
mod login;
mod membership;
mod presence;
mod profiles;
mod retention;
mod words;

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use node::testkit::{
    ConversationOp, ConversationSpec, RecordingSubscriber, ServiceCluster, cid, cids, eventually, user,
};
use protocol::{ConversationId, ErrorCode};

#[actix::test]
async fn every_node_shows_the_same_conversation() {
    // A group made on one node; its members listen on three.
    let cluster = ServiceCluster::start(3).await;
    let subscriber = RecordingSubscriber::new("carol");
    cluster.nodes[2].hub.attach(&user("carol"), subscriber.clone());
    let conv = cluster.nodes[0].group("alice", &["bob", "carol"]).await;
    let (alice, from_a) = cluster.nodes[0].listen("alice", &conv).await;
    let (bob, from_b) = cluster.nodes[1].listen("bob", &conv).await;
    eventually("carol is told of the group", async || {
        subscriber.joined.borrow().contains(&conv)
    })
    .await;
    let (carol, from_c) = cluster.nodes[2].listen("carol", &conv).await;

    // All write at once, pipelined.
    let mut sends = Vec::new();
    for round in 0..50 {
        for (node, name) in ["alice", "bob", "carol"].iter().enumerate() {
            sends.push(cluster.nodes[node].send(name, &conv, &format!("{name}-{round:03}")));
        }
    }
    let acks: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    let last = acks.iter().map(|ack| ack.s).max().unwrap();

    // One order for all, each sender's own kept.
    for (subscriber, from) in [(&alice, from_a), (&bob, from_b), (&carol, from_c)] {
        eventually("the last event", async || subscriber.last(&conv) == last).await;
        let order = cids(&subscriber.contiguous(&conv, from));
        for name in ["alice", "bob", "carol"] {
            let own: Vec<_> = order
                .iter()
                .filter(|cid| cid.starts_with(name))
                .cloned()
                .collect();
            let expected: Vec<_> = (0..50).map(|round| format!("{name}-{round:03}")).collect();
            assert_eq!(own, expected);
        }
    }
    assert_eq!(
        cids(&alice.contiguous(&conv, from_a)),
        cids(&bob.contiguous(&conv, from_b))
    );

    // A repeat on another node is the same message.
    let again = cluster.nodes[2].send("alice", &conv, "alice-007").await.unwrap();
    assert!(again.dup);
    assert!(acks.iter().any(|ack| ack.s == again.s && ack.mn == again.mn));
    cluster.stop().await;
}

#[actix::test]
async fn order_and_acks_survive_the_loss_of_the_owner() {
    let mut cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    let (bob, from) = cluster.node(others[0]).listen("bob", &conv).await;

    // A stream of sends; the owner dies in the middle of it.
    let mut sends = Vec::new();
    for round in 0..400 {
        sends.push(
            cluster
                .node(others[1])
                .send("alice", &conv, &format!("{round:04}")),
        );
        if round % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if round == 200 {
            cluster.crash(owner).await;
        }
    }
    for (round, send) in sends.into_iter().enumerate() {
        if let Err(refusal) = send.await {
            panic!("send {round}: {refusal}");
        }
    }

    eventually("everything", async || {
        cids(&bob.contiguous(&conv, from)).len() == 400
    })
    .await;
    let expected: Vec<_> = (0..400).map(|round| format!("{round:04}")).collect();
    assert_eq!(cids(&bob.contiguous(&conv, from)), expected);
    cluster.stop().await;
}

#[actix::test]
async fn a_silent_owner_holds_up_no_other_conversation() {
    let cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    let (owner, others) = (
        cluster.node(owner),
        [cluster.node(others[0]), cluster.node(others[1])],
    );
    let (bob, from) = others[1].listen("bob", &conv).await;
    others[0].send("alice", &conv, "before").await.unwrap();

    // Nothing is refused, nothing is answered.
    cluster.network.partition(&[owner.id]);
    let sends: Vec<_> = (0..20)
        .map(|round| others[0].send("alice", &conv, &format!("{round:02}")))
        .collect();
    for send in join_all(sends).await {
        send.unwrap();
    }
    eventually("everything", async || {
        cids(&bob.contiguous(&conv, from)).len() == 21
    })
    .await;

    // The old owner comes back: nothing appears twice, and it serves its own sessions again.
    cluster.network.heal();
    let back = owner.send_until_acked("alice", &conv, "19").await;
    assert!(back.dup);
    let (late, late_from) = owner.listen("alice", &conv).await;
    let last = others[0].send("alice", &conv, "after").await.unwrap();
    for (subscriber, from) in [(&bob, from), (&late, late_from)] {
        eventually("the last event", async || subscriber.last(&conv) == last.s).await;
        subscriber.contiguous(&conv, from);
    }
    cluster.stop().await;
}

#[actix::test]
async fn broken_links_delay_events_and_nothing_else() {
    let cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob", "carol"]).await;
    let mut subscriber = Vec::new();
    for (node, name) in ["alice", "bob", "carol"].iter().enumerate() {
        subscriber.push(cluster.nodes[node].listen(name, &conv).await);
    }
    let mut last = 0;
    for round in 0..30 {
        let texts: Vec<_> = (0..5).map(|i| format!("{round:02}-{i}")).collect();
        let sends = texts
            .iter()
            .map(|text| cluster.nodes[round % 3].send_until_acked("alice", &conv, text));
        for done in join_all(sends).await {
            last = last.max(done.s);
        }
        let (a, b) = (cluster.nodes[round % 3].id, cluster.nodes[(round + 1) % 3].id);
        cluster.network.reset(a, b);
    }
    for (subscriber, from) in &subscriber {
        eventually("the last event", async || subscriber.last(&conv) == last).await;
        assert_eq!(subscriber.contiguous(&conv, *from).len() as u64, last - from);
    }
    cluster.stop().await;
}

#[actix::test]
async fn nothing_above_the_removal_reaches_the_removed() {
    let cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (bob, from) = cluster.nodes[1].listen("bob", &conv).await;
    let (alice, _) = cluster.nodes[0].listen("alice", &conv).await;
    let mut sends = Vec::new();
    for round in 0..40 {
        sends.push(
            cluster.nodes[0]
                .send("alice", &conv, &format!("{round:02}"))
                .boxed(),
        );
        if round == 20 {
            sends.push(
                cluster.nodes[2]
                    .command("alice", &conv, "kick", ConversationOp::Kick { who: user("bob") })
                    .boxed(),
            );
        }
    }
    let last = join_all(sends)
        .await
        .into_iter()
        .map(|done| done.unwrap().s)
        .max()
        .unwrap();
    eventually("alice has all", async || alice.last(&conv) == last).await;
    let removal = alice.seen.borrow()[&conv]
        .iter()
        .find(|(_, tail)| tail.contains("\"why\":\"kick\""))
        .unwrap()
        .0;
    eventually("bob has the removal", async || bob.last(&conv) == removal).await;
    bob.contiguous(&conv, from);

    // Neither commands nor questions nor a new subscription get through.
    let refused = cluster.nodes[1].send("bob", &conv, "more").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotMember);
    assert_eq!(
        cluster.nodes[1]
            .conversations
            .open(&user("bob"), &conv, None)
            .await
            .unwrap_err()
            .code,
        ErrorCode::NotMember
    );
    let refused = cluster.nodes[1]
        .hub
        .subscribe(&conv, RecordingSubscriber::new("bob"))
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotMember);
    assert_eq!(bob.last(&conv), removal);
    eventually("the list forgets it", async || {
        cluster.nodes[1]
            .conversations
            .index(&user("bob"), None, 100)
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    cluster.stop().await;
}

#[actix::test]
async fn the_inbox_counts_what_is_unread_and_says_what_is_stale() {
    let cluster = ServiceCluster::start(3).await;
    let mut groups: Vec<ConversationId> = Vec::new();
    for round in 0..8 {
        let made = cluster.nodes[round % 3].conversations.create(
            user("alice"),
            cid(&format!("make-{round}")),
            0,
            ConversationSpec {
                title: Some(format!("group {round}")),
                ..ConversationSpec::plain(protocol::ConversationKind::Group, vec![user("bob")])
            },
        );
        groups.push(made.await.unwrap().conv);
    }
    for (unread, conv) in groups.iter().enumerate() {
        for message in 0..unread {
            cluster.nodes[0]
                .send("alice", conv, &format!("m{message}"))
                .await
                .unwrap();
        }
    }
    eventually("bob's list is complete", async || {
        cluster.nodes[1]
            .conversations
            .index(&user("bob"), None, 100)
            .await
            .unwrap()
            .items
            .len()
            == groups.len()
    })
    .await;

    // In pages, the latest first.
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = cluster.nodes[1]
            .conversations
            .inbox(&user("bob"), cursor, 3)
            .await
            .unwrap();
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(items.len(), groups.len());
    assert_eq!(items[0].conversation, groups[7]);
    for item in &items {
        let at = groups.iter().position(|conv| *conv == item.conversation).unwrap();
        assert_eq!(item.unread, at as u64, "group {at}");
        assert!(!item.stale);
    }

    // Reading one makes it zero, everywhere.
    let last = cluster.nodes[2]
        .conversations
        .open(&user("bob"), &groups[7], None)
        .await
        .unwrap()
        .last
        .seq;
    cluster.nodes[2]
        .command("bob", &groups[7], "", ConversationOp::Read { s: last })
        .await
        .unwrap();
    let page = cluster.nodes[0]
        .conversations
        .inbox(&user("bob"), None, 1)
        .await
        .unwrap();
    assert_eq!(
        (page.items[0].conversation.clone(), page.items[0].unread),
        (groups[7].clone(), 0)
    );

    // What was missed, from several owners at once.
    let wants = groups.iter().map(|conv| (conv.clone(), 2)).collect();
    let missed = cluster.nodes[2].conversations.sync(&user("bob"), wants).await;
    assert_eq!(missed.len(), groups.len());
    for (at, item) in missed.iter().enumerate() {
        assert_eq!((&item.conv, item.events.len()), (&groups[at], at));
        assert!(!item.gap);
    }
    cluster.stop().await;
}
