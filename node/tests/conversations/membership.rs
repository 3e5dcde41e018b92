//! Who may listen, when the event that ends a membership never reaches a node.

use std::rc::Rc;

use node::conversation::timeline::Op;
use protocol::ConvId;

use crate::world::{World, cids, eventually, user};

const KEPT: u64 = 10;

/// Alice says so much that what was said before is let go. Returns the last place.
async fn talk(world: &World, node: usize, conv: &ConvId, what: &str) -> u64 {
    let mut last = 0;
    for n in 0..30 {
        let text = format!("{what}{n:02}");
        last = world.nodes[node].send_until_acked("alice", conv, &text).await.s;
    }
    eventually("what is old goes", async || {
        let wants = vec![(conv.clone(), 1)];
        let found = world.nodes[node].conversations.sync(&user("alice"), wants).await;
        found
            .first()
            .is_some_and(|item| item.events.len() as u64 == KEPT && item.gap)
    })
    .await;
    last
}

#[actix::test]
async fn a_kick_that_a_node_never_heard_of_ends_every_session_of_the_user_there_and_no_others() {
    let world = World::keeping(KEPT).await;
    let conv = world.nodes[0].group("alice", &["bob", "carol", "dan"]).await;
    let (owner, others) = world.owner_and_others(&conv);
    let (gateway, at) = (world.node(others[0]), others[1]);
    let at = world.nodes.iter().position(|node| node.id == at).unwrap();
    // Two sessions of bob's and one of carol's and dan's each.
    let (phone, from) = gateway.listen("bob", &conv).await;
    let (laptop, _) = gateway.listen("bob", &conv).await;
    let (carol, _) = gateway.listen("carol", &conv).await;
    let (dan, _) = gateway.listen("dan", &conv).await;
    let seen = world.node(owner).send_until_acked("alice", &conv, "seen").await.s;
    for ears in [&phone, &laptop, &carol, &dan] {
        eventually("the first", async || ears.last(&conv) == seen).await;
    }

    // Their node hears nothing while bob is removed for good and dan comes back, and what says so is let go.
    world.network.partition(&[others[0]]);
    for other in [owner, others[1]] {
        world.network.reset(other, others[0]);
    }
    for (key, op) in [
        ("kb", Op::Kick { who: user("bob") }),
        ("kd", Op::Kick { who: user("dan") }),
        ("id", Op::Invite { who: user("dan") }),
    ] {
        eventually("membership changes", async || {
            world.nodes[at]
                .command("alice", &conv, key, op.clone())
                .await
                .is_ok()
        })
        .await;
    }
    let quiet = talk(&world, at, &conv, "m").await;
    world.network.heal();

    // Carol goes on. Nobody else hears what was said while nobody knew who is a member.
    let mut n = 0;
    eventually("carol hears again", async || {
        n += 1;
        let text = format!("again{n}");
        world.nodes[at].send_until_acked("alice", &conv, &text).await;
        carol.last(&conv) > quiet
    })
    .await;
    let last = world.nodes[at].send_until_acked("alice", &conv, "last").await.s;
    eventually("carol hears the last", async || carol.last(&conv) == last).await;
    for ears in [&phone, &laptop, &dan] {
        assert_eq!(
            cids(&ears.contiguous(&conv, from)),
            ["seen"],
            "one who was removed hears nothing above the removal"
        );
    }
    for (ears, joined) in [(&phone, 0), (&laptop, 0), (&dan, 1), (&carol, 0)] {
        let (ended, jumps) = (ears.ended.borrow().len(), ears.jumps.borrow().len());
        let expected = if Rc::ptr_eq(ears, &carol) { (0, 1) } else { (1, 0) };
        assert_eq!((ended, jumps), expected, "told that something is missing");
        assert_eq!(ears.joined.borrow().len(), joined, "dan is brought in again");
    }
    // Who asks anew is told what holds now.
    assert!(gateway.hub.subscribe(&conv, phone.clone()).await.is_err());
    let (_, as_of) = gateway.listen("dan", &conv).await;
    assert_eq!(as_of, last);
    world.stop().await;
}
