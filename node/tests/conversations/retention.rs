//! Retention, while somebody is away and catches up.

use protocol::ConvId;

use crate::world::{World, eventually, user};

const KEPT: u64 = 10;

/// The places that a node shows, with what `sync` says of them.
async fn shown(world: &World, node: usize, conv: &ConvId, have: u64) -> Option<(Vec<u64>, bool, u64)> {
    let wants = vec![(conv.clone(), have)];
    let found = world.nodes[node].conversations.sync(&user("bob"), wants).await;
    let item = found.into_iter().next()?;
    let place = |event: &protocol::RawEvent| event.event().unwrap().place().unwrap().1;
    Some((item.events.iter().map(place).collect(), item.gap, item.as_of))
}

#[actix::test]
async fn one_who_catches_up_while_events_go_is_told_of_the_gap() {
    let world = World::keeping(KEPT).await;
    let conv = world.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = world.owner_and_others(&conv);
    let (away, from) = world.node(others[0]).listen("bob", &conv).await;
    world.node(owner).send("alice", &conv, "seen").await.unwrap();
    eventually("the first", async || away.last(&conv) == 3).await;

    // Bob's node hears nothing of what follows, and when it hears again the oldest of it are gone.
    world.network.partition(&[others[0]]);
    for other in [owner, others[1]] {
        // What was on its way is lost.
        world.network.reset(other, others[0]);
    }
    let mut last = 0;
    for n in 0..60 {
        last = world
            .node(others[1])
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await
            .s;
        // A client that has everything but the last few syncs meanwhile, on a node that is there.
        let at = world.nodes.iter().position(|node| node.id == others[1]).unwrap();
        let have = last.saturating_sub(KEPT * 2);
        if n % 7 == 0
            && let Some((places, gap, as_of)) = shown(&world, at, &conv, have).await
        {
            // What it gets reaches up to the end without a hole, and it is told if it doesn't begin where it stands.
            let first = as_of + 1 - places.len() as u64;
            assert_eq!(places, (first..=as_of).collect::<Vec<_>>());
            assert_eq!(gap, first > have + 1, "have {have}, got from {first}");
        }
    }
    let floor = last - KEPT + 1;
    eventually("the oldest go", async || {
        let at = world.nodes.iter().position(|node| node.id == others[1]).unwrap();
        shown(&world, at, &conv, 3).await == Some(((floor..=last).collect(), true, last))
    })
    .await;
    world.network.heal();
    eventually("bob's node catches up", async || {
        away.last(&conv) == last || !away.jumps.borrow().is_empty()
    })
    .await;
    // It is told of one jump, over what is gone, to where it is known to be a member; nothing else is missing.
    let jump = away.jumps.borrow().first().map(|(_, at)| *at);
    let at = jump.expect("a jump");
    assert!(at >= floor, "{at} of {floor}");
    let next = world.node(owner).send_until_acked("alice", &conv, "next").await.s;
    eventually("the next", async || away.last(&conv) == next).await;
    let places: Vec<u64> = away.seen.borrow()[&conv].iter().map(|(s, _)| *s).collect();
    let first = places.iter().position(|s| *s > at).unwrap();
    let (before, behind) = places.split_at(first);
    assert_eq!(
        before,
        (from + 1..=from + before.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(behind, (at + 1..=next).collect::<Vec<_>>());
    assert_eq!(away.jumps.borrow().len(), 1);
    world.stop().await;
}

#[actix::test]
async fn a_new_owner_goes_on_where_the_old_one_let_go() {
    let mut world = World::keeping(KEPT).await;
    let conv = world.nodes[0].group("alice", &["bob"]).await;
    let owner = world.owner_and_others(&conv).0;
    let mut last = 0;
    for n in 0..40 {
        last = world.nodes[0]
            .send_until_acked("alice", &conv, &format!("m{n:02}"))
            .await
            .s;
    }
    world.crash(owner).await;
    last = world.nodes[0]
        .send_until_acked("alice", &conv, "after")
        .await
        .s
        .max(last);
    for node in 0..world.nodes.len() {
        eventually("the same floor on every node", async || {
            let kept: Vec<u64> = (last - KEPT + 1..=last).collect();
            shown(&world, node, &conv, 2).await == Some((kept, true, last))
        })
        .await;
    }
    let page = world.nodes[0]
        .conversations
        .inbox(&user("bob"), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items[0].unread, KEPT, "what is gone is not unread");
    world.stop().await;
}
