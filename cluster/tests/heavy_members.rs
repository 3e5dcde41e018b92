//! Real members in one process: growth, failover, handing over, snapshots, restart.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

#[expect(dead_code, reason = "shared with the other tests of real members")]
mod support;

use bytes::Bytes;
use cluster::{Config, ShardId};
use support::{Member, Received, SHARDS, config, eventually, grow, reserved_addr, whole};

/// Waits until all members are at the same index of every shard; their digests are the same there.
async fn agree(members: &[Member]) {
    let standings = |member: &Member| -> Vec<_> {
        let shards = member.cluster.status().shards.into_iter();
        shards
            .filter_map(|shard| {
                shard
                    .local
                    .map(|local| (shard.shard, local.applied, local.digest))
            })
            .collect()
    };
    let mut seen = Vec::new();
    let indexes = |of: &[(u16, u64, String)]| of.iter().map(|&(s, at, _)| (s, at)).collect::<Vec<_>>();
    eventually("members at the same index", async || {
        seen = members.iter().map(standings).collect();
        seen.iter()
            .all(|one| one.len() == usize::from(SHARDS) && indexes(one) == indexes(&seen[0]))
    })
    .await;
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_grows_to_three_while_it_serves() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 2).await;
    for shard in (0..SHARDS).map(ShardId) {
        eventually("three voters", async || {
            members.iter().all(|m| m.voters(shard) == 3)
        })
        .await;
        eventually("the old rows everywhere", async || {
            members.iter().all(|m| m.has(shard, "written alone"))
        })
        .await;
    }
    // Leadership spreads by itself.
    let owners = || (0..SHARDS).filter_map(|s| members[0].cluster.route(ShardId(s)).owner);
    eventually("more than one owner", async || {
        owners().collect::<std::collections::BTreeSet<_>>().len() > 1
    })
    .await;
    agree(&members).await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_goes_on_without_the_member_that_owned_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let shard = ShardId(0);
    let owner = members[0].cluster.route(shard).owner.unwrap();
    let epoch = members[0].cluster.route(shard).epoch;
    let position = members.iter().position(|m| m.cluster.node_id() == owner).unwrap();
    let dead = members.remove(position);
    let survivor = &members[0];
    survivor.write(shard, "before").await;
    dead.cluster.shutdown().await;
    survivor.write(shard, "after").await;
    let route = survivor.cluster.route(shard);
    assert!(route.owner != Some(owner) && route.epoch > epoch, "{route:?}");
    // It comes back with what it missed.
    let back = dead.restart().await;
    eventually("the returned member to catch up", async || {
        back.has(shard, "before") && back.has(shard, "after")
    })
    .await;
    members.push(back);
    whole(&members).await;
    agree(&members).await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_member_owns_nothing_and_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 2).await;
    let draining = &members[0];
    draining.cluster.drain().await;
    for shard in (0..SHARDS).map(ShardId) {
        assert_eq!(draining.cluster.owned_epoch(shard), None, "shard {}", shard.0);
        members[1].write(shard, "while draining").await;
    }
    assert_eq!(draining.cluster.ready().unwrap_err(), "draining");
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_absent_for_longer_than_the_log_gets_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let absent = members.pop().unwrap();
    absent.cluster.shutdown().await;
    let shard = ShardId(1);
    // The log is purged every 200 entries in these tests.
    for number in 0..500 {
        members[0].write(shard, &format!("missed {number}")).await;
    }
    let back = absent.restart().await;
    eventually("the snapshot", async || {
        back.has(shard, "missed 0") && back.has(shard, "missed 499")
    })
    .await;
    members[0].write(shard, "after the snapshot").await;
    eventually("the log behind it", async || {
        back.has(shard, "after the snapshot")
    })
    .await;
    members.push(back);
    agree(&members).await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_stopped_at_once_come_back_with_everything() {
    let directory = tempfile::tempdir().unwrap();
    let members = grow(&directory, 2).await;
    for shard in (0..SHARDS).map(ShardId) {
        members[1].write(shard, "kept").await;
    }
    let mut stopped = Vec::new();
    for member in members {
        member.cluster.shutdown().await;
        stopped.push(member);
    }
    let back = futures::future::join_all(stopped.into_iter().map(Member::restart)).await;
    for shard in (0..SHARDS).map(ShardId) {
        back[2].write(shard, "more").await;
        eventually("the old rows", async || back.iter().all(|m| m.has(shard, "kept"))).await;
    }
    agree(&back).await;
    for member in back {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moved_is_found_under_its_new_address() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let moved = members.remove(0).restart_at(&reserved_addr()).await;
    let (id, addr) = (moved.cluster.node_id(), moved.addr.clone());
    members.push(moved);
    let known = async || {
        let knows = |m: &Member| m.cluster.nodes().iter().any(|n| n.id == id && n.addr == addr);
        members.iter().all(knows)
    };
    eventually("the new address in every map", known).await;
    whole(&members).await;
    for shard in (0..SHARDS).map(ShardId) {
        members[0].write(shard, "after the move").await;
        let on_every_member = async || members.iter().all(|m| m.has(shard, "after the move"));
        eventually("the row on every member", on_every_member).await;
    }
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn casts_come_between_the_ups_and_the_downs_of_their_link() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 1).await;
    let (sender, receiver) = (members.remove(0), members.remove(0));
    let (from, to) = (sender.cluster.node_id(), receiver.cluster.node_id());
    let received = || receiver.received(from);
    let cast = async |kind: u16| {
        eventually("a cast to be taken", async || {
            sender.cluster.cast(to, kind, Bytes::new()).is_ok()
        })
        .await;
        eventually(
            "it to arrive",
            async || matches!(received().last(), Some(Received::Cast(_, k)) if *k == kind),
        )
        .await;
    };
    cast(1).await;
    cast(2).await;
    let [
        Received::Up(link),
        Received::Cast(first, 1),
        Received::Cast(second, 2),
    ] = received()[..]
    else {
        panic!("{:?}", received());
    };
    assert_eq!((first, second), (link, link));
    // The sender stops: its receiver is told, instead of having to wonder about the silence.
    sender.stop().await;
    eventually("the link's end", async || {
        received().last() == Some(&Received::Down)
    })
    .await;
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_without_a_cluster_names_the_missing_setting() {
    let directory = tempfile::tempdir().unwrap();
    let addr = reserved_addr();
    let store = storage::Store::open(support::TABLES, &storage::Config::small(directory.path())).unwrap();
    let settings = cluster::transport::TransportConfig {
        listen: addr.clone(),
        ..Default::default()
    };
    let transport = std::sync::Arc::new(cluster::transport::TcpTransport::bind(settings).await.unwrap());
    let rows = std::sync::Arc::new(support::Rows);
    let started =
        cluster::Cluster::start(config(&addr), store, transport, rows, support::unused_service()).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("cluster.seeds"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_replaced_by_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = grow(&directory, 2).await;
    let dead = members.pop().unwrap();
    let gone = dead.cluster.node_id();
    dead.stop().await;
    let addr = reserved_addr();
    let first = members[0].cluster.nodes()[0].addr.clone();
    let join = Config {
        seeds: vec![first],
        ..config(&addr)
    };
    members.push(Member::start(directory.path().join("new"), &addr, join).await);
    members[0].cluster.remove_node(gone).await.unwrap();
    whole(&members).await;
    for shard in (0..SHARDS).map(ShardId) {
        let complete = async || {
            members
                .iter()
                .all(|m| m.voters(shard) == 3 && m.has(shard, "written alone"))
        };
        eventually("three voters without the dead one", complete).await;
        members[2].write(shard, "after the replacement").await;
    }
    assert!(members[0].cluster.nodes().iter().all(|node| node.id != gone));
    let refused = members[0].cluster.remove_node(gone).await.unwrap_err();
    assert!(refused.contains("no such member"), "{refused}");
    for member in members {
        member.stop().await;
    }
}
