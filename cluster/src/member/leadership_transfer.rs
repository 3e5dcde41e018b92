//! Transfers of leadership: to the preferred replica, away from a member that may not own, and of all shards at a drain.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Member, Replica};
use crate::ids::NodeId;

/// Maximum number of concurrent leadership transfers while draining.
const TRANSFERS: usize = 4;
/// Maximum lag, in entries, of a replica that may receive leadership.
const SLACK: u64 = 64;

// === impl Member: drain ===

impl Member {
    /// Transfers all owned shards to other members, at most for the configured deadline.
    pub(crate) async fn drain(self: &Arc<Member>) {
        self.draining.store(true, Ordering::Release);
        // Before the transfers, so that the other members do not select this one as a target.
        self.announce();
        let drained = tokio::time::timeout(self.config.drain_deadline, transfer_all(self)).await;
        if drained.is_err() {
            let left = self.owned().len();
            tracing::warn!(
                left,
                "stopping before all shards were transferred; the remaining ones need an election"
            );
        }
    }

    /// Accepts shards again after a [`drain`](Self::drain).
    pub(crate) fn resume(&self) {
        self.draining.store(false, Ordering::Release);
        // The other members return its preferred shards once they know it.
        self.announce();
    }
}

pub(super) fn transfer_to_preferred(node: &Arc<Member>, replica: &Arc<Replica>, preferred: NodeId) {
    // Right after a takeover clients are still redirected; another move would interrupt them again.
    let quiet = replica.since.lock().elapsed() >= node.config.tuning.transfer_delay;
    let able = node.health.is_up(preferred)
        && !node.health.is_draining(preferred)
        && node.clock().peer_may_own(preferred)
        && replica.group.caught_up(SLACK).contains(&preferred);
    if quiet && able {
        transfer_leadership(node, replica, preferred);
    }
}

pub(super) fn step_aside(node: &Arc<Member>, replica: &Arc<Replica>) {
    if let Some(target) = transfer_target(node, replica) {
        transfer_leadership(node, replica, target);
    }
}

fn transfer_leadership(node: &Arc<Member>, replica: &Arc<Replica>, target: NodeId) {
    if replica.busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let (node_, replica) = (node.clone(), replica.clone());
    node.tasks().spawn(async move {
        transfer(&node_, &replica, target).await;
        replica.busy.store(false, Ordering::Release);
    });
}

/// Transfers a leadership that this member won and may not use. Returns true once the leadership has ended.
pub(crate) async fn hand_on(node: &Arc<Member>, replica: &Replica) -> bool {
    let Some(target) = transfer_target(node, replica) else {
        return false;
    };
    replica.group.transfer_to(target).await;
    let mut leadership = replica.group.leadership();
    let gone = async { while leadership.term().is_some() && leadership.changed().await {} };
    // Without a limit a target that fails in between would block the supervisor, and with it the next takeover.
    tokio::time::timeout(node.config.election_max * 2, gone)
        .await
        .is_ok()
}

/// Transfers one leadership and waits until it has ended, at most for two election timeouts.
async fn transfer(node: &Arc<Member>, replica: &Replica, target: NodeId) {
    replica.group.transfer_to(target).await;
    let given_up = Instant::now() + node.config.election_max * 2;
    while replica.epoch().is_some() && Instant::now() < given_up {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Only a finished transfer counts; after a failed one this member still leads.
    if replica.epoch().is_none() {
        node.metrics().transferred();
    }
}

/// Transfers every owned shard to other members. Returns when none is left or no other member can lead one.
pub(crate) async fn transfer_all(node: &Arc<Member>) {
    // Repeated, because a transfer can fail and another shard can be won meanwhile.
    loop {
        let owned: Vec<Arc<Replica>> = node
            .all_replicas()
            .into_iter()
            .filter(|replica| replica.epoch().is_some())
            .collect();
        let moves: Vec<_> = owned
            .iter()
            .filter_map(|replica| Some((replica.clone(), transfer_target(node, replica)?)))
            .collect();
        if moves.is_empty() {
            // Everything is transferred, or no other member can lead what is left.
            return;
        }
        // In small groups, so that most shards have an owner at any moment.
        for group in moves.chunks(TRANSFERS) {
            let transfers = group
                .iter()
                .map(|(replica, target)| transfer(node, replica, *target));
            futures::future::join_all(transfers).await;
        }
    }
}

/// Returns the replica that should take a shard over: connected, not draining, with a right clock and up to date. The
/// preferred one if it qualifies, otherwise the one that owns the fewest shards.
fn transfer_target(node: &Member, replica: &Replica) -> Option<NodeId> {
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
