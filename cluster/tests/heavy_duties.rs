//! Real members in one process that leave, only route, or own what an operator chose.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[expect(dead_code, reason = "shared with the other tests of real members")]
mod support;

use cluster::{Config, NodeDuty, NodeId, ShardId};
use support::{Member, SHARDS, config, eventually, grow, reserved_addr, whole};

fn shards() -> impl Iterator<Item = ShardId> {
    (0..SHARDS).map(ShardId)
}

/// Waits until a node is a member no more, as all others know.
async fn has_left(node: NodeId, others: &[Member]) {
    eventually("the map without the member that left", async || {
        others
            .iter()
            .all(|member| member.cluster.nodes().iter().all(|known| known.id != node))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_leave_one_by_one_while_the_others_serve() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 4).await;
    // Also the one that has owned everything, and the last one that can leave.
    while members.len() > 1 {
        let leaver = members.remove(0);
        let node = leaver.cluster.node_id();
        members[0].cluster.set_duty(node, NodeDuty::Leave).await.unwrap();
        leaver.cluster.drain().await;
        for shard in shards() {
            members[0].write(shard, &format!("while {node} leaves")).await;
        }
        has_left(node, &members).await;
        eventually("the member to know that it has left", async || {
            leaver.cluster.removed()
        })
        .await;
        let reason = leaver.cluster.ready().unwrap_err();
        assert!(
            reason.contains("has left the cluster") && reason.contains("storage.dir"),
            "{reason}"
        );
        let replicas = members.len().min(3);
        for shard in shards() {
            let complete = async || {
                let voting = members.iter().filter(|member| member.voters(shard) > 0);
                voting.clone().count() == replicas
                    && voting.into_iter().all(|member| member.voters(shard) == replicas)
            };
            eventually("the replicas without the member that left", complete).await;
            members[0].write(shard, &format!("without {node}")).await;
            let held = async || {
                let mut holders = members.iter().filter(|member| member.voters(shard) > 0);
                holders.all(|member| {
                    member.has(shard, "written alone") && member.has(shard, &format!("while {node} leaves"))
                })
            };
            eventually("every row at every replica", held).await;
        }
        let refused = leaver.restart_in_vain().await;
        assert!(
            refused.contains("has left its cluster") && refused.contains("empty the data directory"),
            "{refused}"
        );
    }
    let alone = members.pop().unwrap();
    let refused = alone
        .cluster
        .set_duty(alone.cluster.node_id(), NodeDuty::Leave)
        .await
        .unwrap_err();
    assert!(refused.contains("no other member"), "{refused}");
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_member_leaves_when_another_one_holds_its_replicas() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 3).await;
    let dead = members.remove(1);
    let node = dead.cluster.node_id();
    dead.stop().await;
    for shard in shards() {
        members[0].write(shard, "after its death").await;
    }
    members[0].cluster.set_duty(node, NodeDuty::Leave).await.unwrap();
    has_left(node, &members).await;
    for shard in shards() {
        eventually("three replicas of the living", async || {
            members
                .iter()
                .all(|member| member.voters(shard) == 3 && member.has(shard, "after its death"))
        })
        .await;
    }
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_routes_and_holds_no_replica() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 1).await;
    let addr = reserved_addr();
    let settings = Config {
        seeds: vec![members[0].addr.clone()],
        gateway_only: true,
        ..config(&addr)
    };
    let gateway = Member::start(directory.path().join("gateway"), &addr, settings).await;
    members.push(gateway);
    whole(&members).await;
    let gateway = &members[2];
    for shard in shards() {
        gateway.write(shard, "through the gateway").await;
        assert_eq!((gateway.voters(shard), members[0].voters(shard)), (0, 2));
    }
    let duties: Vec<NodeDuty> = gateway
        .cluster
        .status()
        .nodes
        .iter()
        .map(|node| node.duty)
        .collect();
    assert_eq!(
        duties,
        [NodeDuty::Replicas, NodeDuty::Replicas, NodeDuty::Gateway]
    );
    // It counts for no majority: without it the two others go on, and without one of them nothing does.
    members.pop().unwrap().stop().await;
    for shard in shards() {
        members[1].write(shard, "without the gateway").await;
    }
    assert!(
        members
            .iter()
            .all(|member| member.cluster.ready().is_ok() && !member.cluster.isolated())
    );
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chosen_owner_keeps_a_shard_until_it_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 2).await;
    let shard = ShardId(0);
    let owner = || members[0].cluster.route(shard).owner;
    let preferred = members[0].cluster.status().shards[0].preferred.unwrap();
    eventually("the preferred owner", async || owner() == Some(preferred)).await;
    for node in [1, 2, 3]
        .map(NodeId)
        .into_iter()
        .filter(|node| *node != preferred)
    {
        members[1].cluster.choose_owner(shard, node).await.unwrap();
        eventually("the chosen owner", async || owner() == Some(node)).await;
        members[2].write(shard, &format!("at {node}")).await;
    }
    let refused = members[0]
        .cluster
        .choose_owner(shard, NodeId(9))
        .await
        .unwrap_err();
    assert!(refused.contains("holds no replica"), "{refused}");
    members[2].cluster.release_owners().await.unwrap();
    eventually("the preferred owner again", async || owner() == Some(preferred)).await;
    for member in members {
        member.stop().await;
    }
}
