//! Retention, while somebody is away and catches up.

use protocol::ConversationId;

use node::testkit::{ServiceCluster, eventually, user};

const RETAINED: u64 = 10;

/// The places that a node shows, with what `sync` says of them.
async fn synced(
    cluster: &ServiceCluster,
    node: usize,
    conv: &ConversationId,
    have: u64,
) -> Option<(Vec<u64>, bool, u64)> {
    let wants = vec![(conv.clone(), have)];
    let found = cluster.nodes[node].conversations.sync(&user("bob"), wants).await;
    let item = found.into_iter().next()?;
    let position = |event: &protocol::EncodedEvent| event.event().unwrap().position().unwrap().1;
    Some((item.events.iter().map(position).collect(), item.gap, item.as_of))
}

#[actix::test]
async fn a_catch_up_during_trimming_reports_the_gap() {
    let cluster = ServiceCluster::keeping(RETAINED).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    let (absent, from) = cluster.node(others[0]).listen("bob", &conv).await;
    cluster.node(owner).send("alice", &conv, "seen").await.unwrap();
    eventually("the first", async || absent.last(&conv) == 3).await;

    // Bob's node hears nothing of what follows, and when it hears again the oldest of it are gone.
    cluster.network.partition(&[others[0]]);
    for other in [owner, others[1]] {
        // What was on its way is lost.
        cluster.network.reset(other, others[0]);
    }
    let mut last = 0;
    for n in 0..60 {
        last = cluster
            .node(others[1])
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await
            .s;
        // A client that has everything but the last few syncs meanwhile, on a node that is there.
        let at = cluster
            .nodes
            .iter()
            .position(|node| node.id == others[1])
            .unwrap();
        let have = last.saturating_sub(RETAINED * 2);
        if n % 7 == 0
            && let Some((seqs, gap, as_of)) = synced(&cluster, at, &conv, have).await
        {
            // What it gets reaches up to the end without a hole, and it is told if it doesn't begin where it stands.
            let first = as_of + 1 - seqs.len() as u64;
            assert_eq!(seqs, (first..=as_of).collect::<Vec<_>>());
            assert_eq!(gap, first > have + 1, "have {have}, got from {first}");
        }
    }
    let floor = last - RETAINED + 1;
    eventually("the oldest go", async || {
        let at = cluster
            .nodes
            .iter()
            .position(|node| node.id == others[1])
            .unwrap();
        synced(&cluster, at, &conv, 3).await == Some(((floor..=last).collect(), true, last))
    })
    .await;
    cluster.network.heal();
    eventually("bob's node catches up", async || {
        absent.last(&conv) == last || !absent.jumps.borrow().is_empty()
    })
    .await;
    // It is told of one jump, over what is gone, to where it is known to be a member; nothing else is missing.
    let jump = absent.jumps.borrow().first().map(|(_, at)| *at);
    let at = jump.expect("a jump");
    assert!(at >= floor, "{at} of {floor}");
    let next = cluster
        .node(owner)
        .send_until_acked("alice", &conv, "next")
        .await
        .s;
    eventually("the next", async || absent.last(&conv) == next).await;
    let seqs: Vec<u64> = absent.seen.borrow()[&conv].iter().map(|(s, _)| *s).collect();
    let first = seqs.iter().position(|s| *s > at).unwrap();
    let (before, behind) = seqs.split_at(first);
    assert_eq!(
        before,
        (from + 1..=from + before.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(behind, (at + 1..=next).collect::<Vec<_>>());
    assert_eq!(absent.jumps.borrow().len(), 1);
    cluster.stop().await;
}

#[actix::test]
async fn a_new_owner_goes_on_where_the_old_one_let_go() {
    let mut cluster = ServiceCluster::keeping(RETAINED).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let owner = cluster.owner_and_others(&conv).0;
    let mut last = 0;
    for n in 0..40 {
        last = cluster.nodes[0]
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await
            .s;
    }
    cluster.crash(owner).await;
    last = cluster.nodes[0]
        .send_until_acked("alice", &conv, "after")
        .await
        .s
        .max(last);
    for node in 0..cluster.nodes.len() {
        eventually("the same floor on every node", async || {
            let retained: Vec<u64> = (last - RETAINED + 1..=last).collect();
            synced(&cluster, node, &conv, 2).await == Some((retained, true, last))
        })
        .await;
    }
    let page = cluster.nodes[0]
        .conversations
        .inbox(&user("bob"), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items[0].unread, RETAINED, "what is gone is not unread");
    cluster.stop().await;
}
