//! Who may listen, when the event that ends a membership never reaches a node.

use std::rc::Rc;

use node::testkit::{ConversationOp, ServiceCluster, cids, eventually, user};
use protocol::ConversationId;

const RETAINED: u64 = 10;

/// Alice says so much that what was said before is let go. Returns the last place.
async fn talk(cluster: &ServiceCluster, node: usize, conv: &ConversationId, what: &str) -> u64 {
    let mut last = 0;
    for n in 0..30 {
        let text = format!("{what}{n:02}");
        last = cluster.nodes[node].send_until_acked("alice", conv, &text).await.s;
    }
    eventually("what is old goes", async || {
        let wants = vec![(conv.clone(), 1)];
        let found = cluster.nodes[node]
            .conversations
            .sync(&user("alice"), wants)
            .await;
        found
            .first()
            .is_some_and(|item| item.events.len() as u64 == RETAINED && item.gap)
    })
    .await;
    last
}

#[actix::test]
async fn a_missed_kick_ends_every_session_of_that_user_only() {
    let cluster = ServiceCluster::keeping(RETAINED).await;
    let conv = cluster.nodes[0].group("alice", &["bob", "carol", "dan"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    let (gateway, at) = (cluster.node(others[0]), others[1]);
    let at = cluster.nodes.iter().position(|node| node.id == at).unwrap();
    // Two sessions of bob's and one of carol's and dan's each.
    let (phone, from) = gateway.listen("bob", &conv).await;
    let (laptop, _) = gateway.listen("bob", &conv).await;
    let (carol, _) = gateway.listen("carol", &conv).await;
    let (dan, _) = gateway.listen("dan", &conv).await;
    let seen = cluster
        .node(owner)
        .send_until_acked("alice", &conv, "seen")
        .await
        .s;
    for subscriber in [&phone, &laptop, &carol, &dan] {
        eventually("the first", async || subscriber.last(&conv) == seen).await;
    }

    // Their node hears nothing while bob is removed for good and dan comes back, and what says so is let go.
    cluster.network.partition(&[others[0]]);
    for other in [owner, others[1]] {
        cluster.network.reset(other, others[0]);
    }
    for (key, op) in [
        ("kb", ConversationOp::Kick { who: user("bob") }),
        ("kd", ConversationOp::Kick { who: user("dan") }),
        ("id", ConversationOp::Invite { who: user("dan") }),
    ] {
        eventually("membership changes", async || {
            cluster.nodes[at]
                .command("alice", &conv, key, op.clone())
                .await
                .is_ok()
        })
        .await;
    }
    let quiet = talk(&cluster, at, &conv, "m").await;
    cluster.network.heal();

    // Carol goes on. Nobody else hears what was said while nobody knew who is a member.
    let mut n = 0;
    eventually("carol hears again", async || {
        n += 1;
        let text = format!("again{n}");
        cluster.nodes[at].send_until_acked("alice", &conv, &text).await;
        carol.last(&conv) > quiet
    })
    .await;
    let last = cluster.nodes[at].send_until_acked("alice", &conv, "last").await.s;
    eventually("carol hears the last", async || carol.last(&conv) == last).await;
    for subscriber in [&phone, &laptop, &dan] {
        assert_eq!(
            cids(&subscriber.contiguous(&conv, from)),
            ["seen"],
            "one who was removed hears nothing above the removal"
        );
    }
    for (subscriber, joined) in [(&phone, 0), (&laptop, 0), (&dan, 1), (&carol, 0)] {
        let (ended, jumps) = (subscriber.ended.borrow().len(), subscriber.jumps.borrow().len());
        let expected = if Rc::ptr_eq(subscriber, &carol) {
            (0, 1)
        } else {
            (1, 0)
        };
        assert_eq!((ended, jumps), expected, "told that something is missing");
        assert_eq!(
            subscriber.joined.borrow().len(),
            joined,
            "dan is brought in again"
        );
    }
    // Who asks anew is told what holds now.
    assert!(gateway.hub.subscribe(&conv, phone.clone()).await.is_err());
    let (_, as_of) = gateway.listen("dan", &conv).await;
    assert_eq!(as_of, last);
    cluster.stop().await;
}
