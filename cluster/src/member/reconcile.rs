//! Reconciliation loop: brings replicas, voters and leadership in line with the cluster map, step by step.
//!
//! The meta group's owner computes the placement whenever the members change. Each shard's owner changes its group's
//! voters to match, two groups at a time. It transfers leadership to the preferred replica once the shard has been
//! stable. An owner that the map no longer places in its group stays a voter until the new replicas have caught up,
//! and transfers its leadership to one of them, which then removes it: a leader that removed itself would leave the
//! group to an election. A member destroys a replica that the map no longer assigns to it when the shard's owner
//! confirms that it votes no more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::ShardId;
use tokio::time::Instant;

use crate::blocking::run_blocking;
use crate::ids::{META_SHARD, NodeId, shard_name};
use crate::log_throttle::LogThrottle;
use crate::member::duty::{correct_duty, remove_left};
use crate::member::leadership_transfer::{step_aside, transfer_to_preferred};
use crate::member::{Member, Replica};
use crate::membership::placement_of;
use crate::shard::{ClusterMap, MapChange, MapChangeResult, MemberMethod};

/// Interval of the loop without a change that wakes it.
const INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of groups whose voters change at the same time on one node.
const CHANGES: usize = 2;
/// Time limit of a new replica's catch-up; the change is then retried later.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Duration of a disk write after which the node transfers its shards to others.
const STALL: Duration = Duration::from_secs(1);
/// Interval of saving the records of the other members' disks.
const SAVE: Duration = Duration::from_secs(10);
/// Minimum time between two log lines about failing steps.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Reconciles until the member stops.
pub(crate) async fn run(node: Arc<Member>) {
    let mut announced = Instant::now();
    let mut saved = Instant::now();
    let failing = LogThrottle::every(LOG_EVERY);
    loop {
        tokio::select! {
            () = node.changed.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
            () = node.stopping().cancelled() => return,
        }
        // By time and not by wake-up: a burst of changes must not flood the other members.
        if announced.elapsed() >= Duration::from_secs(1) {
            node.announce();
            announced = Instant::now();
        }
        if saved.elapsed() >= SAVE {
            node.save_disks();
            saved = Instant::now();
        }
        // Called for its side effect: only a call notices that a majority is connected.
        node.health.without_majority(&node.other_voters());
        // A failed step is retried in the next round; most causes, such as a full disk, pass.
        if let Err(error) = step(&node).await
            && let Some(held_back) = failing.due()
        {
            tracing::warn!(%error, held_back, "failed to reconcile the replicas with the cluster map, will retry");
        }
    }
}

async fn step(node: &Arc<Member>) -> Result<(), crate::error::Error> {
    if node.store().poisoned().is_some()
        || node.removed()
        || node.is_below_level()
        || node.stopping().is_cancelled()
    {
        // The replicas have stepped down, or are about to.
        return Ok(());
    }
    // The local replica of the meta group can be newer than any announced map.
    let rows = node.state(META_SHARD);
    if let Some(map) = run_blocking(|| ClusterMap::load(&rows))? {
        node.adopt(map);
    }
    node.follow_discards().await;
    node.restart_failed().await?;
    let map = node.map();
    for shard in map.all_shards() {
        let wanted = map
            .placement(shard)
            .is_some_and(|p| p.replicas.contains(&node.id()));
        if wanted {
            node.start_replica(shard).await?;
        }
    }
    if node.owned_epoch(META_SHARD).is_some() {
        assign_shards(node, &map).await;
        raise_level(node, &map).await;
        remove_left(node, &map);
    }
    correct_address(node, &map).await;
    correct_duty(node, &map).await;
    for replica in node.all_replicas() {
        let shard = replica.group.shard();
        let Some(placement) = map.placement(shard) else {
            continue;
        };
        let mut wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        node.end_replay(&replica, &wanted)?;
        #[cfg(feature = "planted-bugs")]
        let removes = !crate::seeded_bugs::voter_deleted();
        #[cfg(not(feature = "planted-bugs"))]
        let removes = true;
        if let Some(rebuilt) = node.rebuilding(shard).filter(|_| removes)
            && replica.epoch().is_some()
        {
            wanted.remove(&rebuilt);
        }
        if replica.epoch().is_none() {
            if !wanted.contains(&node.id()) {
                remove_replica(node, shard).await?;
            }
        } else if node.store().stalled().is_some_and(|stall| stall > STALL) {
            // A leader that cannot write still sends heartbeats, so no election would replace it.
            step_aside(node, &replica);
        } else if !node.clock().may_own() {
            step_aside(node, &replica);
        } else if node.store().room().is_err() {
            // The branches below write entries. A full disk would refuse them and thereby stop the group until there is
            // room.
        } else if replica.group.voters() != wanted {
            change_members(node, &replica, wanted);
        } else if placement.preferred != node.id() {
            transfer_to_preferred(node, &replica, placement.preferred);
        }
    }
    Ok(())
}

async fn assign_shards(node: &Arc<Member>, map: &ClusterMap) {
    let (shards, meta) = placement_of(map, node.config.replication);
    if (&map.shards, &map.meta) == (&shards, &meta) {
        return;
    }
    match node
        .change(MapChange::AssignShards {
            based_on: map.version,
            shards,
            meta,
        })
        .await
    {
        Ok(MapChangeResult::Done { version }) => {
            tracing::info!(version, members = map.nodes.len(), "shards assigned");
        }
        other => tracing::debug!(?other, "shard assignment refused"),
    }
}

/// Raises the feature level of the cluster once every member supports a higher one.
async fn raise_level(node: &Arc<Member>, map: &ClusterMap) {
    // Not above this member's own level, which the map may not show yet.
    let level = map.common_level().min(node.config.supported_level);
    if level <= map.level {
        return;
    }
    match node.change(MapChange::RaiseLevel { level }).await {
        Ok(MapChangeResult::Done { .. }) => tracing::info!(%level, "feature level of the cluster raised"),
        other => tracing::debug!(?other, "feature level not raised"),
    }
}

/// Changes this member's entry in the map if its address, zone or supported level differs from the configuration.
async fn correct_address(node: &Arc<Member>, map: &ClusterMap) {
    let Some(known) = map.nodes.get(&node.id()) else {
        return;
    };
    let (addr, zone) = (&node.config.advertise, &node.config.zone);
    let supported_level = node.config.supported_level;
    if (&known.addr, &known.zone, known.supported_level) != (addr, zone, supported_level) {
        let change = MapChange::Move {
            node: node.id(),
            addr: addr.clone(),
            zone: zone.clone(),
            supported_level,
        };
        let Err(reason) = node.change(change.clone()).await else {
            return;
        };
        tracing::debug!(reason, "address update in the cluster map failed");
        // Peers that dial the old address cannot announce the meta group's owner to this node, but it can reach them.
        for peer in node.others().into_iter().filter(|&peer| node.health.is_up(peer)) {
            match node
                .ask_for(change.clone(), peer, MemberMethod::ForwardMapChange)
                .await
            {
                Ok(_) => return,
                Err(reason) => tracing::debug!(%peer, reason, "address update in the cluster map failed"),
            }
        }
    }
}

fn change_members(node: &Arc<Member>, replica: &Arc<Replica>, placed: BTreeSet<NodeId>) {
    let voters = replica.group.voters();
    if !voters.contains(&node.id()) {
        // A leader that is no voter any more is about to step down, and openraft asserts that it changes nothing.
        return;
    }
    let mut wanted = placed;
    if wanted.insert(node.id()) && wanted == voters {
        return step_aside(node, replica);
    }
    // An unreachable learner would only block one of the change slots until `CATCH_UP` expires.
    let reachable = wanted.difference(&voters).all(|&peer| node.health.is_up(peer));
    let busy = node
        .all_replicas()
        .iter()
        .filter(|r| r.busy.load(Ordering::Acquire))
        .count();
    // The flag is set last: set before a failed check it would never be cleared.
    if !reachable || busy >= CHANGES || replica.busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let (node_, replica) = (node.clone(), replica.clone());
    node.tasks().spawn(async move {
        let shard = shard_name(replica.group.shard());
        let changed = tokio::select! {
            changed = tokio::time::timeout(CATCH_UP, replica.group.set_voters(&wanted)) => changed,
            () = node_.stopping().cancelled() => return,
        };
        replica.busy.store(false, Ordering::Release);
        match changed {
            Ok(Ok(())) => {
                node_.metrics().membership_changed();
                node_.changed.notify_one();
                tracing::debug!(shard, ?wanted, "replica set changed");
            }
            // Not retried immediately: a stopped group refuses without any delay, for as long as it is stopped.
            Ok(Err(reason)) => tracing::debug!(shard, reason, "replica set change failed, will retry"),
            Err(_) => tracing::warn!(shard, "new replica did not catch up in time, will retry"),
        }
    });
}

/// Removes a replica that the map assigns to others, if the shard's owner confirms that it is no voter.
async fn remove_replica(node: &Arc<Member>, shard: ShardId) -> Result<(), crate::error::Error> {
    // Without a confirmed answer the replica stays: it may still be needed for a majority.
    match node.ask_voters(shard).await {
        Some(voters) if !voters.contains(&node.id()) => node.remove_replica(shard).await,
        _ => Ok(()),
    }
}
