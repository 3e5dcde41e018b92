//! Real members in one process that change their addresses, or are removed while they run.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[expect(dead_code, reason = "shared with the other tests of real members")]
mod support;

use cluster::ShardId;
use support::{Member, SHARDS, eventually, grow, logging, reserved_addr, whole};

/// Stops every member at once and starts each at another address, with these hints.
async fn move_all(members: Vec<Member>, hints: impl Fn(usize, &[String]) -> Vec<String>) -> Vec<Member> {
    let addresses: Vec<String> = members.iter().map(|_| reserved_addr()).collect();
    let mut stopped = Vec::new();
    for member in members {
        member.cluster.shutdown().await;
        stopped.push(member);
    }
    let moves = stopped
        .into_iter()
        .enumerate()
        .map(|(i, member)| member.restart_with(&addresses[i], hints(i, &addresses)));
    // The order of the futures, so the order of the members, stays.
    let moves: Vec<_> = moves.collect();
    let mut moved = Vec::new();
    for member in moves {
        moved.push(member.await);
    }
    moved
}

async fn serves(members: &[Member], row: &str) {
    for shard in (0..SHARDS).map(ShardId) {
        members[0].write(shard, row).await;
        let on_every_member = async || {
            members
                .iter()
                .all(|m| m.has(shard, "written alone") && m.has(shard, row))
        };
        eventually("old and new rows on every member", on_every_member).await;
    }
}

/// Every map names every member where it is.
async fn maps_are_right(members: &[Member]) {
    let right = async || {
        members.iter().all(|one| {
            let nodes = one.cluster.nodes();
            members.iter().all(|other| {
                nodes
                    .iter()
                    .any(|node| node.id == other.cluster.node_id() && node.addr == other.addr)
            })
        })
    };
    eventually("the new addresses in every map", right).await;
}

async fn stop(members: Vec<Member>) {
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_all_moved_meet_again_by_their_join_hints() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 2).await;
    // Each is told of one other alone: what the two say to each other leads to the third.
    let next = |i: usize, addresses: &[String]| vec![addresses[(i + 1) % addresses.len()].clone()];
    let members = move_all(members, next).await;
    whole(&members).await;
    maps_are_right(&members).await;
    serves(&members, "after all have moved").await;
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_moved_members_find_the_one_that_stayed_without_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let stayed = members.pop().unwrap();
    let mut members = move_all(members, |_, _| Vec::new()).await;
    members.push(stayed);
    whole(&members).await;
    maps_are_right(&members).await;
    serves(&members, "after two have moved").await;
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_of_two_that_moved_meet_again() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 1).await;
    // One knows where the other is now, which knows nothing.
    let hints = |i: usize, addresses: &[String]| {
        if i == 0 {
            vec![addresses[1].clone()]
        } else {
            Vec::new()
        }
    };
    let members = move_all(members, hints).await;
    whole(&members).await;
    maps_are_right(&members).await;
    serves(&members, "after both have moved").await;
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_member_that_runs_serves_nothing_and_cannot_return() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let removed = members.pop().unwrap();
    members[0]
        .cluster
        .remove_node(removed.cluster.node_id())
        .await
        .unwrap();
    eventually("the removed member to know", async || {
        let reason = removed.cluster.ready().err();
        removed.cluster.removed() && reason.is_some_and(|why| why.contains("removed from the cluster"))
    })
    .await;
    eventually("it to own nothing", async || {
        (0..SHARDS).all(|shard| removed.cluster.owned_epoch(ShardId(shard)).is_none())
    })
    .await;
    let why = removed.restart_in_vain().await;
    assert!(
        why.contains("was removed") && why.contains("empty the data directory"),
        "{why}"
    );
    assert!(logging::removal_says("serving stopped"));
    whole(&members).await;
    serves(&members, "after the removal").await;
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_removed_while_down_learns_it_from_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let down = members.pop().unwrap();
    let id = down.cluster.node_id();
    down.cluster.shutdown().await;
    members[0].cluster.remove_node(id).await.unwrap();
    let back = down.restart().await;
    eventually("the removed member to know", async || back.cluster.removed()).await;
    assert!(
        back.cluster
            .ready()
            .unwrap_err()
            .contains("removed from the cluster")
    );
    eventually("the log to say so", async || {
        logging::removal_says("serving stopped")
    })
    .await;
    back.stop().await;
    serves(&members, "after the removal").await;
    stop(members).await;
}
