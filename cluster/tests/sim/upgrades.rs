//! Members of two builds in one cluster.

use std::time::Duration;

use cluster::seeded_bugs::{self, SeededBug};
use cluster::{FeatureLevel, NodeId, ShardId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::client;
use crate::invariants::{self, replicas_agree};
use crate::machine::{Append, NEW_KIND, OLD_KIND};
use crate::scenarios::{eventually, send_to_all, simulate, three};
use crate::simulation::Simulation;

/// Sends a command of the new kind, through an owner that knows it, and waits for its ack.
async fn send_new_kind(simulation: &Simulation) {
    let status = simulation.members[0].running().unwrap().status();
    let by_another = status
        .shards
        .iter()
        .find(|shard| shard.preferred != Some(NodeId(3)) && shard.owner != Some(NodeId(3)));
    let shard = by_another.expect("the third member does not own everything");
    let append = Append {
        conversation: simulation.conversation_of(ShardId(shard.shard)),
        client: 3,
        id: simulation.next_id(),
        kind: NEW_KIND,
    };
    let mut random = StdRng::seed_from_u64(3);
    let sent = client::send_until_acked(&simulation.members, &append, &mut random);
    let acked = tokio::time::timeout(Duration::from_secs(30), sent).await;
    assert!(acked.is_ok(), "the members that know the kind apply it");
}

/// Reason for which a replica of the third member stopped.
fn failure(simulation: &Simulation) -> Option<String> {
    let status = simulation.members[2].running()?.status();
    status.shards.into_iter().find_map(|shard| {
        let local = shard.local?;
        (local.role == "failed").then(|| local.failure.unwrap_or_default())
    })
}

#[test]
fn replica_stops_at_an_unknown_kind_until_it_is_upgraded() {
    simulate(async |simulation| {
        let third = &simulation.members[2];
        third.newest_kind.set(OLD_KIND);
        three(&simulation).await;
        send_to_all(&simulation).await;
        send_new_kind(&simulation).await;
        eventually("the replica to stop", || failure(&simulation).is_some()).await;
        let failure = failure(&simulation).unwrap();
        assert!(
            failure.contains("kind 2") && failure.contains("version 1"),
            "{failure}"
        );
        let reason = third.running().unwrap().ready().unwrap_err();
        assert!(reason.contains(&failure), "{reason}");
        assert_eq!(third.running().unwrap().failed_replicas(), 1);
        // It is not tried again, and the others go on.
        tokio::time::sleep(Duration::from_secs(10)).await;
        send_to_all(&simulation).await;
        assert!(third.running().unwrap().ready().is_err());
        // The same build stops again, after power was lost, too.
        third.crash(0);
        third.start().await.unwrap();
        eventually("the replica to stop again", || {
            self::failure(&simulation).is_some()
        })
        .await;
        third.crash(0);
        third.newest_kind.set(NEW_KIND);
        third.start().await.unwrap();
        let ready = || third.running().is_some_and(|member| member.ready().is_ok());
        eventually("its return", ready).await;
        send_to_all(&simulation).await;
        eventually("equal replicas", || invariants::replicas_are_equal(&simulation)).await;
        eventually("one index", || replicas_agree::level(&simulation)).await;
        replicas_agree::holds(&simulation).unwrap();
    });
}

#[test]
fn an_undecodable_entry_that_is_skipped_is_caught() {
    seeded_bugs::plant(Some(SeededBug::UndecodableSkipped));
    simulate(async |simulation| {
        let third = &simulation.members[2];
        third.newest_kind.set(OLD_KIND);
        three(&simulation).await;
        send_new_kind(&simulation).await;
        send_to_all(&simulation).await;
        eventually("one index", || replicas_agree::level(&simulation)).await;
        let caught = replicas_agree::holds(&simulation);
        assert!(caught.is_err(), "a skipped entry was not caught");
    });
    seeded_bugs::plant(None);
}

/// Level of this build, and of the one after it.
const THIS: FeatureLevel = FeatureLevel::SUPPORTED;
const NEXT: FeatureLevel = FeatureLevel(FeatureLevel::SUPPORTED.0 + 1);

/// Returns true if every running member has this feature level.
fn all_have(simulation: &Simulation, level: FeatureLevel) -> bool {
    let mut running = simulation.members.iter().filter_map(|member| member.running());
    running.all(|member| member.feature_level() == level)
}

/// Restarts a member with a build that supports `level`.
async fn upgrade(simulation: &Simulation, position: usize, level: FeatureLevel) {
    let member = &simulation.members[position];
    member.crash(0);
    member.supported_level.set(level);
    member.start().await.unwrap();
    let ready = || member.running().is_some_and(|member| member.ready().is_ok());
    eventually("its return", ready).await;
}

#[test]
fn the_level_rises_with_the_last_member() {
    simulate(async |simulation| {
        three(&simulation).await;
        for position in 0..3 {
            assert!(all_have(&simulation, THIS));
            send_to_all(&simulation).await;
            upgrade(&simulation, position, NEXT).await;
            if position < 2 {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
        eventually("the higher level", || all_have(&simulation, NEXT)).await;
        send_to_all(&simulation).await;
        eventually("equal replicas", || invariants::replicas_are_equal(&simulation)).await;
        let status = simulation.members[0].running().unwrap().status();
        assert_eq!(status.feature_level, NEXT);
        assert!(status.nodes.iter().all(|node| node.supported_level == NEXT));
        for rows in invariants::messages(&simulation).into_values() {
            let levels: Vec<FeatureLevel> = rows.into_iter().map(|(_, row)| row.level).collect();
            assert!(levels.is_sorted(), "the level of a shard never falls: {levels:?}");
            assert_eq!((levels.first(), levels.last()), (Some(&THIS), Some(&NEXT)));
        }
    });
}

#[test]
fn a_member_below_the_level_does_not_start() {
    simulate(async |simulation| {
        for member in simulation.members.iter() {
            member.supported_level.set(NEXT);
        }
        three(&simulation).await;
        let third = &simulation.members[2];
        third.crash(0);
        third.supported_level.set(THIS);
        let error = third.start().await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("feature level {THIS}")) && error.contains(&format!("requires {NEXT}")),
            "{error}"
        );
        send_to_all(&simulation).await;
    });
}

#[test]
fn a_node_below_the_level_is_refused_at_the_join() {
    simulate(async |simulation| {
        for member in &simulation.members[..2] {
            member.supported_level.set(NEXT);
            member.start().await.unwrap();
        }
        let ready = || {
            simulation.members[..2]
                .iter()
                .all(|m| m.running().unwrap().ready().is_ok())
        };
        eventually("two members", ready).await;
        let error = simulation.members[2].start().await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("feature level {THIS}")) && error.contains(&format!("requires {NEXT}")),
            "{error}"
        );
        assert_eq!(simulation.members[0].running().unwrap().nodes().len(), 2);
    });
}

#[test]
fn a_member_that_the_level_has_passed_is_refused_by_its_peers() {
    simulate(async |simulation| {
        three(&simulation).await;
        let third = &simulation.members[2];
        // Recorded with the new build, and down with the old one when the level rises.
        upgrade(&simulation, 2, NEXT).await;
        let recorded = || {
            let nodes = simulation.members[0].running().unwrap().nodes();
            nodes
                .iter()
                .any(|node| node.id == NodeId(3) && node.supported_level == NEXT)
        };
        eventually("the record", recorded).await;
        third.crash(0);
        third.supported_level.set(THIS);
        upgrade(&simulation, 0, NEXT).await;
        upgrade(&simulation, 1, NEXT).await;
        eventually("the higher level", || all_have(&simulation, NEXT)).await;
        third.start().await.unwrap();
        let refused = || {
            let ready = third.running().unwrap().ready();
            ready.is_err_and(|reason| reason.contains(&format!("feature level {THIS}")))
        };
        eventually("the refusal", refused).await;
        send_to_all(&simulation).await;
        upgrade(&simulation, 2, NEXT).await;
        eventually("equal replicas", || invariants::replicas_are_equal(&simulation)).await;
    });
}
