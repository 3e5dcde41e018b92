//! What a member says it applied: the same as the others, whichever way it came there.

use std::time::Duration;

use cluster::Status;

use crate::invariants::replicas_agree::level;
use crate::scenarios::{eventually, send_to_all, simulate, three};
use crate::simulation::Simulation;

/// Index and digest of every shard, as a member shows them.
fn standings(status: &Status) -> Vec<(u64, String)> {
    let shards = status.shards.iter().chain([&status.meta]);
    shards
        .map(|shard| {
            let local = shard.local.as_ref().unwrap();
            (local.applied, local.digest.clone())
        })
        .collect()
}

/// Waits until all members are at the same index, and has them agree there.
async fn agree(simulation: &Simulation) -> Vec<(u64, String)> {
    eventually("members at the same index", || level(simulation)).await;
    let all: Vec<_> = simulation
        .members
        .iter()
        .map(|member| standings(&member.running().unwrap().status()))
        .collect();
    assert!(all.iter().all(|one| *one == all[0]), "{all:#?}");
    all.into_iter().next().unwrap()
}

#[test]
fn members_at_one_index_agree_on_a_digest_of_all_messages() {
    simulate(async |simulation| {
        three(&simulation).await;
        // Leadership spreads, and has found its place.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let before = agree(&simulation).await;
        send_to_all(&simulation).await;
        let after = agree(&simulation).await;
        let shards = before.len() - 1;
        for (before, after) in before.iter().zip(&after).take(shards) {
            assert!(before.0 < after.0 && before.1 != after.1, "{before:?} {after:?}");
        }
    });
}

#[test]
fn member_has_the_same_digest_after_power_loss_and_catch_up() {
    simulate(async |simulation| {
        three(&simulation).await;
        send_to_all(&simulation).await;
        let third = &simulation.members[2];
        // What was applied is not synced: a part of it is applied again.
        third.crash(0);
        send_to_all(&simulation).await;
        third.start().await.unwrap();
        agree(&simulation).await;
        for member in simulation.members.iter() {
            member.crash(2);
        }
        for member in simulation.members.iter() {
            member.start().await.unwrap();
        }
        agree(&simulation).await;
    });
}

#[test]
fn snapshot_receiver_has_the_digest_of_the_applying_members() {
    simulate(async |simulation| {
        three(&simulation).await;
        send_to_all(&simulation).await;
        agree(&simulation).await;
        let third = &simulation.members[2];
        third.crash(0);
        // More than is kept of a log.
        for _ in 0..60 {
            send_to_all(&simulation).await;
        }
        third.start().await.unwrap();
        agree(&simulation).await;
        send_to_all(&simulation).await;
        agree(&simulation).await;
    });
}
