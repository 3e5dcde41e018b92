//! What one fault does to one member, step by step: the promises that the invariants can't see.

use std::rc::Rc;
use std::time::Duration;

use cluster::seeded_bugs::{self, SeededBug};
use cluster::{Cluster, NodeId, ShardId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::client;
use crate::clocks::Wrong;
use crate::machine::{Append, OLD_KIND};
use crate::member::SHARDS;
use crate::simulation::{RunPlan, Simulation};

/// Runs a scenario in a world of three members.
pub(crate) fn simulate<F: Future<Output = ()>>(scenario: impl FnOnce(Rc<Simulation>) -> F) {
    crate::paused::run("scenario", async || {
        let simulation = Rc::new(Simulation::new(1, &RunPlan::quiet()));
        LocalSet::new().run_until(scenario(simulation)).await;
    });
}

pub(crate) async fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn shards() -> impl Iterator<Item = ShardId> {
    (0..SHARDS).map(ShardId)
}

/// Three members, each ready.
pub(crate) async fn three(simulation: &Simulation) -> [Cluster; 3] {
    for member in simulation.members.iter() {
        member.start().await.unwrap();
    }
    let running = || simulation.members.iter().filter_map(|member| member.running());
    eventually("three members", || {
        running().filter(|c| c.ready().is_ok()).count() == 3
    })
    .await;
    let members: Vec<Cluster> = running().collect();
    members.try_into().ok().unwrap()
}

/// Sends one message to each conversation; fails if one isn't acknowledged in time.
pub(crate) async fn send_to_all(simulation: &Simulation) {
    let mut random = StdRng::seed_from_u64(1);
    for conversation in 0..client::CONVERSATIONS {
        let append = Append {
            conversation,
            client: 1,
            id: simulation.next_id(),
            kind: OLD_KIND,
        };
        let sent = client::send_until_acked(&simulation.members, &append, &mut random);
        let acked = tokio::time::timeout(Duration::from_secs(30), sent).await;
        assert!(acked.is_ok(), "conversation {conversation} takes no message");
    }
}

/// Whether a message gets acknowledged within a second.
async fn takes_messages(simulation: &Simulation, conversation: u16) -> bool {
    let append = Append {
        conversation,
        client: 2,
        id: simulation.next_id(),
        kind: OLD_KIND,
    };
    let mut random = StdRng::seed_from_u64(2);
    let sent = client::send_until_acked(&simulation.members, &append, &mut random);
    tokio::time::timeout(Duration::from_secs(1), sent).await.is_ok()
}

/// The member that owns shard 0, and its position.
fn owner_of_the_first(members: &[Cluster; 3]) -> (usize, &Cluster) {
    let owner = members
        .iter()
        .enumerate()
        .find(|(_, member)| member.owned_epoch(ShardId(0)).is_some());
    owner.expect("shard 0 has an owner")
}

#[test]
fn members_with_the_same_seeds_start_one_cluster_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        simulate(async |simulation| {
            simulation.members[0].is_first_alone.set(false);
            let starts = order.map(|position| {
                let simulation = simulation.clone();
                async move {
                    tokio::time::sleep(Duration::from_secs(3) * u32::from(position == order[2])).await;
                    simulation.members[position].start().await.unwrap();
                }
            });
            futures::future::join_all(starts).await;
            let members: Vec<Cluster> = simulation.members.iter().filter_map(|m| m.running()).collect();
            eventually("three members", || {
                members.iter().all(|m| m.ready().is_ok() && m.nodes().len() == 3)
            })
            .await;
            assert!(
                members
                    .iter()
                    .all(|m| m.status().cluster == members[0].status().cluster)
            );
            send_to_all(&simulation).await;
        });
    }
}

#[test]
fn the_first_seed_with_an_empty_disk_starts_no_second_cluster() {
    simulate(async |simulation| {
        let first = &simulation.members[0];
        let empty = first.disk.copy();
        let [_, second, _] = three(&simulation).await;
        send_to_all(&simulation).await;
        for member in simulation.members.iter() {
            member.crash(0);
        }
        first.disk.put_back(&empty);
        // The others are silent: they may be members with all messages.
        match first.start().await {
            Err(cluster::Error::SilentSeeds { silent, .. }) => assert_eq!(silent.len(), 2),
            other => panic!("{other:?}"),
        }
        let cluster = second.status().cluster;
        for member in &simulation.members[1..] {
            member.start().await.unwrap();
        }
        first.crash(0);
        first.start().await.unwrap();
        let joined = first.running().unwrap();
        assert_eq!(joined.status().cluster, cluster);
        assert_eq!(joined.node_id(), NodeId(4), "a lost disk is a new member");
    });
}

#[test]
fn survivor_of_a_lost_majority_continues_alone() {
    simulate(async |simulation| {
        three(&simulation).await;
        send_to_all(&simulation).await;
        let [first, second, third] = &simulation.members[..] else {
            unreachable!("a simulation has three members")
        };
        third.crash(0);
        third.recovers.set(true);
        match third.start().await {
            Err(cluster::Error::RecoveryRefused { reason }) => assert!(reason.contains("runs"), "{reason}"),
            other => panic!("two members run: {other:?}"),
        }
        first.crash(0);
        second.crash(0);
        third.crash(0);
        third.start().await.unwrap();
        let alone = third.running().unwrap();
        eventually("the only member", || {
            alone.nodes().len() == 1 && alone.ready().is_ok()
        })
        .await;
        send_to_all(&simulation).await;
        // Recovered once, and then an ordinary member of an ordinary cluster.
        third.recovers.set(false);
        third.crash(0);
        third.start().await.unwrap();
        send_to_all(&simulation).await;
        // A lost one that comes back is no member any more; with an empty disk it is a new one.
        second.start().await.unwrap();
        let back = second.running().unwrap();
        eventually("the removal of the lost member", || back.removed()).await;
        for lost in [second, first] {
            lost.crash(0);
            lost.disk.put_back(&storage::MemoryDisk::new());
            lost.start().await.unwrap();
        }
        let grown = || third.running().unwrap().nodes().len() == 3;
        eventually("new members", grown).await;
        send_to_all(&simulation).await;
        eventually("equal replicas", || {
            crate::invariants::replicas_are_equal(&simulation)
        })
        .await;
    });
}

/// Log index up to which each shard is applied on a member.
fn applied(member: &Cluster) -> Vec<u64> {
    let shards = member.status().shards;
    shards
        .iter()
        .map(|shard| shard.local.as_ref().map_or(0, |local| local.applied))
        .collect()
}

#[test]
fn restarted_member_is_ready_after_its_replicas_have_caught_up() {
    simulate(async |simulation| {
        let [first, second, _] = three(&simulation).await;
        let third = &simulation.members[2];
        third.crash(0);
        for _ in 0..400 {
            send_to_all(&simulation).await;
        }
        third.start().await.unwrap();
        let third = third.running().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while third.ready().is_err() {
            assert!(Instant::now() < deadline, "{:?}", third.ready());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let furthest = applied(&first).into_iter().zip(applied(&second));
        for (shard, (own, (first, second))) in applied(&third).into_iter().zip(furthest).enumerate() {
            let lag = first.max(second).saturating_sub(own);
            assert!(lag <= 200, "ready, and shard {shard} lacks {lag} entries");
        }
    });
}

#[test]
fn member_with_a_failed_disk_steps_down_and_others_take_over() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        let (position, owner) = owner_of_the_first(&members);
        simulation.members[position].disk.set_failing(true);
        send_to_all(&simulation).await;
        assert!(shards().all(|shard| owner.owned_epoch(shard).is_none()));
        let reason = owner.ready().unwrap_err();
        assert!(reason.contains("storage failed"), "{reason}");
        // A disk that works again doesn't help: what it forgot is not known.
        simulation.members[position].disk.set_failing(false);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(owner.ready().is_err());
        assert!(shards().all(|shard| owner.owned_epoch(shard).is_none()));
    });
}

#[test]
fn member_with_a_rolled_back_disk_stops_and_others_continue() {
    simulate(async |simulation| {
        three(&simulation).await;
        send_to_all(&simulation).await;
        let third = &simulation.members[2];
        third.crash(0);
        let older = third.disk.copy();
        third.start().await.unwrap();
        let ready = || third.running().is_some_and(|member| member.ready().is_ok());
        eventually("its return", ready).await;
        // It confirms what it is about to forget, and the others hear how far its disk is.
        send_to_all(&simulation).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        third.crash(0);
        let newer = third.disk.copy();
        third.disk.put_back(&older);
        third.start().await.unwrap();
        let gives_up = || {
            let ready = third.running().map(|member| member.ready());
            ready.is_some_and(|ready| ready.is_err_and(|reason| reason.contains("older copy")))
        };
        eventually("its end", gives_up).await;
        let owned = |member: &Cluster| shards().filter(|s| member.owned_epoch(*s).is_some()).count();
        send_to_all(&simulation).await;
        assert_eq!(third.running().map(|member| owned(&member)), Some(0));
        // The others remember it over their own restarts.
        tokio::time::sleep(Duration::from_secs(15)).await;
        for member in simulation.members.iter() {
            member.crash(0);
        }
        for member in simulation.members.iter() {
            member.start().await.unwrap();
        }
        eventually("its end once more", gives_up).await;
        // The disk that it should have is welcome.
        third.crash(0);
        third.disk.put_back(&newer);
        third.start().await.unwrap();
        eventually("its return with the newer disk", ready).await;
        send_to_all(&simulation).await;
        eventually("equal replicas", || {
            crate::invariants::replicas_are_equal(&simulation)
        })
        .await;
    });
}

#[test]
fn full_disks_refuse_messages_until_space_is_free_again() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        send_to_all(&simulation).await;
        // Leadership spreads, and has found its place.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let epochs = || {
            members
                .each_ref()
                .map(|m| shards().map(|s| m.owned_epoch(s)).collect::<Vec<_>>())
        };
        let before = epochs();
        for member in simulation.members.iter() {
            member.disk.set_full(true);
        }
        assert!(
            !takes_messages(&simulation, 0).await,
            "acknowledged on a full disk"
        );
        tokio::time::sleep(Duration::from_secs(20)).await;
        for member in simulation.members.iter() {
            member.disk.set_full(false);
        }
        assert!(
            takes_messages(&simulation, 0).await,
            "refused although there is room"
        );
        assert_eq!(
            epochs(),
            before,
            "the owners refused by themselves, no group had to stop"
        );
    });
}

#[test]
fn a_follower_with_a_full_disk_catches_up_later() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        let (position, _) = owner_of_the_first(&members);
        let full = (position + 1) % 3;
        simulation.members[full].disk.set_full(true);
        for _ in 0..5 {
            send_to_all(&simulation).await;
        }
        simulation.members[full].disk.set_full(false);
        eventually("equal replicas", || {
            crate::invariants::replicas_are_equal(&simulation)
        })
        .await;
    });
}

#[test]
fn partitioned_owner_serves_no_read_and_reports_isolation() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        let (position, owner) = owner_of_the_first(&members);
        let epoch = owner.owned_epoch(ShardId(0)).unwrap();
        assert_eq!(owner.readable(ShardId(0), epoch).await, Ok(()));
        simulation.network.partition(&[NodeId(position as u64 + 1)]);
        // Longer than the lease, shorter than the others' election.
        tokio::time::sleep(Duration::from_millis(650)).await;
        assert!(owner.readable(ShardId(0), epoch).await.is_err());
        send_to_all(&simulation).await;
        eventually("isolation", || owner.isolated()).await;
        let reason = owner.ready().unwrap_err();
        assert!(reason.contains("isolated"), "{reason}");
        simulation.network.heal();
        eventually("its return", || owner.ready().is_ok()).await;
        let newer = |member: &Cluster| member.owned_epoch(ShardId(0)).is_none_or(|taken| taken > epoch);
        eventually("the end of the old epoch", || members.iter().all(newer)).await;
    });
}

#[test]
fn member_that_crashes_during_its_join_keeps_its_identity() {
    for delay in (0..80).step_by(4).map(Duration::from_millis) {
        simulate(async |simulation| {
            simulation.members[0].start().await.unwrap();
            simulation.restart(NodeId(2));
            tokio::time::sleep(delay).await;
            simulation.members[1].crash(0);
            simulation.members[1].start().await.unwrap();
            let first = simulation.members[0].running().unwrap();
            let ready = || first.ready().is_ok() && simulation.members[1].running().unwrap().ready().is_ok();
            eventually("two members", ready).await;
            assert_eq!(first.nodes().len(), 2, "crashed after {delay:?}");
        });
    }
}

#[test]
fn refused_membership_change_is_retried_after_a_pause() {
    for delay in (0..200).step_by(5).map(Duration::from_millis) {
        simulate(async |simulation| {
            let running = || simulation.members.iter().filter_map(|member| member.running());
            let ready = |count| running().filter(|member| member.ready().is_ok()).count() == count;
            simulation.members[0].start().await.unwrap();
            simulation.members[1].start().await.unwrap();
            eventually("two members", || ready(2)).await;
            simulation.restart(NodeId(3));
            tokio::time::sleep(delay).await;
            // The leader's lease runs out, and it refuses every change at once; the member to add is in sight.
            simulation.network.block(NodeId(2), NodeId(1));
            tokio::time::sleep(Duration::from_secs(3)).await;
            simulation.network.heal();
            eventually("three members", || ready(3)).await;
        });
    }
}

const TEN_DAYS_MS: i64 = 10 * 24 * 3600 * 1000;

/// The times of all messages, as one member holds them, of those after the first `skip` of each conversation.
fn times(simulation: &Simulation, skip: usize) -> Vec<u64> {
    let messages = crate::invariants::messages(simulation);
    let rows = messages.values().flat_map(|rows| rows.iter().skip(skip));
    rows.map(|(_, row)| row.now_ms).collect()
}

/// As the clocks are right, so are the times, and no entry was ahead of its time.
fn times_are_right(simulation: &Simulation, skip: usize) {
    let right = simulation.clocks.reached_ms();
    for time in times(simulation, skip) {
        assert!(time.abs_diff(right) < 120_000, "{time} is not of today");
    }
    assert_eq!(simulation.clocks.early(), None);
}

fn owns(member: &Cluster) -> usize {
    shards()
        .filter(|shard| member.owned_epoch(*shard).is_some())
        .count()
}

#[test]
fn member_with_a_wrong_clock_owns_nothing_and_reports_it() {
    for ahead_ms in [TEN_DAYS_MS, -TEN_DAYS_MS] {
        simulate(async |simulation| {
            let members = three(&simulation).await;
            send_to_all(&simulation).await;
            let (position, owner) = owner_of_the_first(&members);
            let node = NodeId(position as u64 + 1);
            let wrong = Wrong { ahead_ms, drift: 0.0 };
            simulation.clocks.of(node).set(wrong);
            // Before it knows of it and after.
            for _ in 0..5 {
                send_to_all(&simulation).await;
            }
            eventually("it owns nothing", || owns(owner) == 0).await;
            let reason = owner.ready().unwrap_err();
            let how = if ahead_ms > 0 { "ahead" } else { "behind" };
            assert!(
                reason.contains("the clock is") && reason.contains(how),
                "{reason}"
            );
            let wrong = |member: &Cluster| {
                let nodes = member.status().nodes;
                nodes
                    .iter()
                    .filter(|node| node.clock_wrong)
                    .map(|node| node.id)
                    .collect::<Vec<_>>()
            };
            let all_see = || members.iter().all(|member| wrong(member) == [node]);
            eventually("everybody to see it", all_see).await;
            // Nobody hands anything to it, whatever is preferred, and all is served.
            for _ in 0..20 {
                send_to_all(&simulation).await;
                assert_eq!(owns(owner), 0);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            // It restarts with the same clock.
            simulation.member(node).crash(0);
            send_to_all(&simulation).await;
            simulation.member(node).start().await.unwrap();
            for _ in 0..10 {
                send_to_all(&simulation).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let again = simulation.member(node).running().unwrap();
            assert_eq!(owns(&again), 0);
            times_are_right(&simulation, 0);
            simulation.clocks.put_right();
            eventually("its return", || again.ready().is_ok() && owns(&again) > 0).await;
            send_to_all(&simulation).await;
            times_are_right(&simulation, 0);
        });
    }
}

#[test]
fn a_drifting_clock_is_noticed_before_it_reaches_the_log() {
    for drift in [1_000.0 / 60.0, -1_000.0 / 60.0, 500.0] {
        simulate(async |simulation| {
            let members = three(&simulation).await;
            let (position, owner) = owner_of_the_first(&members);
            let node = NodeId(position as u64 + 1);
            simulation.clocks.of(node).set(Wrong { ahead_ms: 0, drift });
            let deadline = Instant::now() + Duration::from_secs(700);
            while owner.ready().is_ok() {
                assert!(Instant::now() < deadline, "not noticed");
                send_to_all(&simulation).await;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            eventually("it owns nothing", || owns(owner) == 0).await;
            send_to_all(&simulation).await;
            let right = simulation.clocks.reached_ms();
            assert!(times(&simulation, 0).iter().all(|time| *time <= right + 1_000));
            assert_eq!(simulation.clocks.early(), None);
        });
    }
}

#[test]
fn log_deposes_an_owner_that_trusts_its_own_wrong_clock() {
    seeded_bugs::plant(Some(SeededBug::ClockBelieved));
    simulate(async |simulation| {
        let members = three(&simulation).await;
        send_to_all(&simulation).await;
        let (position, owner) = owner_of_the_first(&members);
        let epoch = owner.owned_epoch(ShardId(0));
        let wrong = Wrong {
            ahead_ms: TEN_DAYS_MS,
            drift: 0.0,
        };
        simulation.clocks.of(NodeId(position as u64 + 1)).set(wrong);
        for _ in 0..5 {
            send_to_all(&simulation).await;
        }
        assert!(
            members
                .iter()
                .all(|member| member.owned_epoch(ShardId(0)) != epoch),
            "the shard has another owner, or another epoch"
        );
        times_are_right(&simulation, 0);
        simulation.clocks.put_right();
        send_to_all(&simulation).await;
        eventually("equal replicas", || {
            crate::invariants::replicas_are_equal(&simulation)
        })
        .await;
    });
    seeded_bugs::plant(None);
}

#[test]
fn slower_of_two_disagreeing_clocks_owns_all_and_sets_time() {
    for (node, ahead_ms) in [(1, TEN_DAYS_MS), (2, TEN_DAYS_MS), (1, -TEN_DAYS_MS)] {
        simulate(async |simulation| {
            for member in &simulation.members[..2] {
                member.start().await.unwrap();
            }
            let members: Vec<Cluster> = simulation.members[..2]
                .iter()
                .filter_map(|m| m.running())
                .collect();
            eventually("two members", || members.iter().all(|m| m.ready().is_ok())).await;
            let wrong = Wrong { ahead_ms, drift: 0.0 };
            simulation.clocks.of(NodeId(node)).set(wrong);
            let slower = if ahead_ms > 0 {
                2 - node as usize
            } else {
                node as usize - 1
            };
            let all = usize::from(SHARDS);
            let (slower, faster) = (&members[slower], &members[1 - slower]);
            eventually("the faster to step aside", || {
                faster.ready().is_err() && owns(faster) == 0 && owns(slower) == all
            })
            .await;
            assert!(slower.ready().is_ok());
            simulation.clocks.put_right();
            eventually("both", || members.iter().all(|m| m.ready().is_ok())).await;
        });
    }
}

#[test]
fn suspended_member_discards_the_clock_reports_of_the_others() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        let (position, owner) = owner_of_the_first(&members);
        let node = NodeId(position as u64 + 1);
        simulation.network.partition(&[node]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(owner.clock().reached_ms().is_some(), "reports go on for a while");
        simulation.clocks.of(node).suspend(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(owner.clock().reached_ms(), None);
        simulation.network.heal();
        eventually("its return", || owner.clock().reached_ms().is_some()).await;
        send_to_all(&simulation).await;
    });
}
