//! Replicas whose rows changed beside their log: found by a comparison, deleted and filled again.

use std::time::Duration;

use cluster::{Cluster, NodeId, ShardId};

use crate::invariants::replicas_agree::level;
use crate::machine;
use crate::scenarios::{eventually, send_to_all, simulate, three};
use crate::simulation::Simulation;

const SHARD: ShardId = ShardId(0);

/// Nodes that differ, by a comparison that this member asks for.
async fn differing(member: &Cluster) -> Vec<NodeId> {
    let comparison = member.compare_replicas(SHARD).await.unwrap();
    let differing = comparison.replicas.iter().filter(|replica| replica.differs);
    differing.map(|replica| replica.node).collect()
}

/// The member that owns the shard, and the others.
fn owner_first(members: &[Cluster; 3]) -> [&Cluster; 3] {
    let owner = members
        .iter()
        .position(|member| member.owned_epoch(SHARD).is_some());
    let owner = owner.expect("the shard has an owner");
    [0, 1, 2].map(|step| &members[(owner + step) % 3])
}

/// Waits until every shard is led by its preferred replica.
async fn leadership_rests() {
    tokio::time::sleep(Duration::from_secs(15)).await;
}

/// Waits until all replicas are voters again, at one index and equal.
async fn whole(simulation: &Simulation, members: &[Cluster; 3]) {
    eventually("three voters at one index", || {
        let voters = |member: &Cluster| {
            let status = member.status();
            status.shards[0]
                .local
                .as_ref()
                .map_or(0, |local| local.voters.len())
        };
        members.iter().all(|member| voters(member) == 3) && level(simulation)
    })
    .await;
    leadership_rests().await;
    assert_eq!(differing(&members[0]).await, []);
    assert!(
        !members
            .iter()
            .any(|member| machine::is_damaged(&member.state(SHARD)))
    );
}

#[test]
fn replica_that_differs_is_found_and_rebuilt() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        send_to_all(&simulation).await;
        leadership_rests().await;
        // The owner itself is the last one: it hands the shard over first.
        for at in [1, 2, 0] {
            let [owner, ..] = owner_first(&members);
            assert_eq!(differing(owner).await, []);
            let damaged = owner_first(&members)[at];
            machine::damage(&damaged.state(SHARD));
            for member in &members {
                assert_eq!(differing(member).await, [damaged.node_id()]);
            }
            let asked = owner_first(&members)[(at + 1) % 3];
            asked.rebuild_replica(SHARD, damaged.node_id()).await.unwrap();
            send_to_all(&simulation).await;
            whole(&simulation, &members).await;
        }
        eventually("equal replicas", || {
            crate::invariants::replicas_are_equal(&simulation)
        })
        .await;
    });
}

#[test]
fn replica_is_retained_without_a_majority_of_equal_ones() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        send_to_all(&simulation).await;
        let [owner, second, third] = owner_first(&members);
        let refused = async |node: &Cluster| owner.rebuild_replica(SHARD, node.node_id()).await.unwrap_err();
        assert!(refused(second).await.contains("does not differ"));
        let unknown = owner.rebuild_replica(SHARD, NodeId(9)).await.unwrap_err();
        assert!(unknown.contains("has no replica"), "{unknown}");

        machine::damage(&second.state(SHARD));
        // One of the two that agree does not answer: two copies differ, and nothing tells which one is right.
        let silent = simulation.member(third.node_id());
        silent.crash(0);
        let reason = refused(second).await;
        assert!(reason.contains("no majority"), "{reason}");
        assert!(machine::is_damaged(&second.state(SHARD)));
        silent.start().await.unwrap();
        let members = three_running(&simulation).await;
        send_to_all(&simulation).await;
        owner_first(&members)[0]
            .rebuild_replica(SHARD, second.node_id())
            .await
            .unwrap();
        whole(&simulation, &members).await;
    });
}

/// The members as they run now, ready.
async fn three_running(simulation: &Simulation) -> [Cluster; 3] {
    let running = || simulation.members.iter().filter_map(|member| member.running());
    let is_owned = || running().any(|member| member.owned_epoch(SHARD).is_some());
    eventually("three members", || {
        running().filter(|member| member.ready().is_ok()).count() == 3 && is_owned()
    })
    .await;
    let members: Vec<Cluster> = running().collect();
    members.try_into().ok().unwrap()
}
