//! Makes the cluster as the map wants it, step by step, for as long as the member runs.
//!
//! The meta group's owner places the shards whenever the members change. Each shard's owner brings its group's members
//! in line with the placement, two groups at a time, and hands leadership to the preferred replica once things are
//! quiet. A member whose replica is no longer wanted lets it go when the owner confirms that it doesn't vote any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::ShardId;
use tokio::time::Instant;

use crate::blocking::in_place;
use crate::membership::placement::place;
use crate::node::{Node, Replica};
use crate::ownership::announce::Method;
use crate::seldom::Seldom;
use crate::shard::META;
use crate::shard::map::{Change, Changed, Map};
use crate::types::{NodeId, NodeInfo, shard_name};

/// Groups whose members change at the same time on one node.
const CHANGES: usize = 2;
/// A new replica that hasn't caught up by then is tried again later.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Leaderships handed over at the same time.
const TRANSFERS: usize = 4;
/// A write that takes longer than this makes the node hand its shards over.
const STALL: Duration = Duration::from_secs(1);
/// How often what is known of the others' disks is written down.
const SAVE: Duration = Duration::from_secs(10);
/// How often it is logged that a step fails again and again.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How far a replica may be behind and still be given leadership.
const SLACK: u64 = 64;

/// Runs until the member stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut announced = Instant::now();
    let mut saved = Instant::now();
    let failing = Seldom::every(LOG_EVERY);
    loop {
        tokio::select! {
            () = node.changed.notified() => {}
            () = tokio::time::sleep(node.config.reconcile) => {}
            () = node.stopping().cancelled() => return,
        }
        if announced.elapsed() >= Duration::from_secs(1) {
            node.announce();
            announced = Instant::now();
        }
        if saved.elapsed() >= SAVE {
            node.save_disks();
            saved = Instant::now();
        }
        node.health.without_majority(&node.others());
        if let Err(error) = step(&node).await
            && let Some(held_back) = failing.due()
        {
            tracing::warn!(%error, held_back, "could not bring the replicas in line with the map; trying again");
        }
    }
}

async fn step(node: &Arc<Node>) -> Result<(), crate::error::Error> {
    if node.store().poisoned().is_some() || node.removed() || node.stopping().is_cancelled() {
        // The replicas have stepped down, or are about to.
        return Ok(());
    }
    let rows = node.state(META);
    if let Some(map) = in_place(|| Map::load(&rows))? {
        node.adopt(map);
    }
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
    if node.owned_epoch(META).is_some() {
        place_shards(node, &map).await;
    }
    correct_address(node, &map).await;
    for replica in node.all_replicas() {
        let shard = replica.group.shard();
        let Some(placement) = map.placement(shard) else {
            continue;
        };
        let wanted: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        if replica.epoch().is_none() {
            if !wanted.contains(&node.id()) {
                let_go(node, shard).await?;
            }
        } else if node.store().stalled().is_some_and(|stall| stall > STALL) {
            // A leader that can't write still sends heartbeats: it must step aside by itself.
            step_aside(node, &replica);
        } else if !node.clock().may_own() {
            step_aside(node, &replica);
        } else if node.store().room().is_err() {
            // What follows writes entries, and one that a full disk refuses stops the group here until there is room.
        } else if replica.group.voters() != wanted {
            change_members(node, &replica, wanted);
        } else if placement.preferred != node.id() {
            prefer(node, &replica, placement.preferred);
        }
    }
    Ok(())
}

async fn place_shards(node: &Arc<Node>, map: &Map) {
    let members: Vec<NodeInfo> = map.nodes.values().cloned().collect();
    let (shards, meta) = place(&members, node.shard_count(), node.config.replication);
    if (&map.shards, &map.meta) == (&shards, &meta) {
        return;
    }
    match node
        .change(Change::Place {
            based_on: map.version,
            shards,
            meta,
        })
        .await
    {
        Ok(Changed::Done { version }) => {
            tracing::info!(version, members = members.len(), "placed the shards");
        }
        other => tracing::debug!(?other, "the placement was not taken"),
    }
}

/// Tells the others when this member's address isn't the one in the map.
async fn correct_address(node: &Arc<Node>, map: &Map) {
    let Some(known) = map.nodes.get(&node.id()) else {
        return;
    };
    let (addr, zone) = (&node.config.advertise, &node.config.zone);
    if (&known.addr, &known.zone) != (addr, zone) {
        let change = Change::Move {
            node: node.id(),
            addr: addr.clone(),
            zone: zone.clone(),
        };
        let Err(reason) = node.change(change.clone()).await else {
            return;
        };
        tracing::debug!(reason, "the address was not corrected");
        // Who dials the old address can't tell this node who owns the meta group; but it can be dialled itself.
        for peer in node.others().into_iter().filter(|&peer| node.health.is_up(peer)) {
            match node.ask_for(change.clone(), peer, Method::PassOn).await {
                Ok(_) => return,
                Err(reason) => tracing::debug!(%peer, reason, "the address was not corrected"),
            }
        }
    }
}

fn change_members(node: &Arc<Node>, replica: &Arc<Replica>, wanted: BTreeSet<NodeId>) {
    let voters = replica.group.voters();
    let reachable = wanted.difference(&voters).all(|&peer| node.health.is_up(peer));
    let busy = node
        .all_replicas()
        .iter()
        .filter(|r| r.busy.load(Ordering::Acquire))
        .count();
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
                tracing::debug!(shard, ?wanted, "replicas changed");
            }
            // Not at once: a group that has stopped refuses immediately, and for as long as it rests.
            Ok(Err(reason)) => tracing::debug!(shard, reason, "replicas not changed; trying again"),
            Err(_) => tracing::warn!(shard, "a new replica did not catch up in time; trying again"),
        }
    });
}

fn prefer(node: &Arc<Node>, replica: &Arc<Replica>, preferred: NodeId) {
    let quiet = replica.since.lock().elapsed() >= node.config.settle;
    let able = node.health.is_up(preferred)
        && !node.health.is_draining(preferred)
        && node.clock().peer_may_own(preferred)
        && replica.group.caught_up(SLACK).contains(&preferred);
    if quiet && able {
        hand_to(node, replica, preferred);
    }
}

fn step_aside(node: &Arc<Node>, replica: &Arc<Replica>) {
    if let Some(target) = heir(node, replica) {
        hand_to(node, replica, target);
    }
}

fn hand_to(node: &Arc<Node>, replica: &Arc<Replica>, target: NodeId) {
    if replica.busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let (node_, replica) = (node.clone(), replica.clone());
    node.tasks().spawn(async move {
        transfer(&node_, &replica, target).await;
        replica.busy.store(false, Ordering::Release);
    });
}

/// Hands a leadership on that this member won and won't use. Returns whether it is gone.
pub(crate) async fn hand_on(node: &Arc<Node>, replica: &Replica) -> bool {
    let Some(target) = heir(node, replica) else {
        return false;
    };
    replica.group.transfer_to(target).await;
    let mut leadership = replica.group.leadership();
    let gone = async { while leadership.term().is_some() && leadership.changed().await {} };
    tokio::time::timeout(node.config.election_max * 2, gone)
        .await
        .is_ok()
}

/// Hands one leadership over and waits until it is gone, or the lease would have run out.
async fn transfer(node: &Arc<Node>, replica: &Replica, target: NodeId) {
    replica.group.transfer_to(target).await;
    let given_up = Instant::now() + node.config.election_max * 2;
    while replica.epoch().is_some() && Instant::now() < given_up {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    if replica.epoch().is_none() {
        node.metrics().transferred();
    }
}

/// Hands every owned shard to another member; returns when none is left.
pub(crate) async fn hand_over(node: &Arc<Node>) {
    loop {
        let owned: Vec<Arc<Replica>> = node
            .all_replicas()
            .into_iter()
            .filter(|replica| replica.epoch().is_some())
            .collect();
        let moves: Vec<_> = owned
            .iter()
            .filter_map(|replica| Some((replica.clone(), heir(node, replica)?)))
            .collect();
        if moves.is_empty() {
            // All is handed over, or nobody is there to take it.
            return;
        }
        for group in moves.chunks(TRANSFERS) {
            let transfers = group
                .iter()
                .map(|(replica, target)| transfer(node, replica, *target));
            futures::future::join_all(transfers).await;
        }
    }
}

/// The replica to take a shard over: in sight, staying, and up to date; the preferred one if it can.
fn heir(node: &Node, replica: &Replica) -> Option<NodeId> {
    let caught_up = replica.group.caught_up(SLACK);
    let able = |peer: &NodeId| {
        *peer != node.id()
            && node.health.is_up(*peer)
            && !node.health.is_draining(*peer)
            && node.clock().peer_may_own(*peer)
            && caught_up.contains(peer)
    };
    let voters = replica.group.voters();
    let map = node.map();
    let preferred = map
        .placement(replica.group.shard())
        .map(|placement| placement.preferred);
    let load = |peer: &NodeId| {
        map.all_shards()
            .filter(|&s| node.table.owner(s).is_some_and(|(n, _)| n == *peer))
            .count()
    };
    preferred
        .filter(|peer| voters.contains(peer) && able(peer))
        .or_else(|| {
            voters
                .iter()
                .filter(|peer| able(peer))
                .min_by_key(|peer| load(peer))
                .copied()
        })
}

/// Drops a replica that the map gives to others, once its group's owner says that it doesn't vote any more.
async fn let_go(node: &Arc<Node>, shard: ShardId) -> Result<(), crate::error::Error> {
    match node.ask_voters(shard).await {
        Some(voters) if !voters.contains(&node.id()) => node.remove_replica(shard).await,
        _ => Ok(()),
    }
}
