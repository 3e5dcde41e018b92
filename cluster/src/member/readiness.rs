//! Readiness of a member: the conditions that hold at any time, and those of the start, which hold once.
//!
//! A member that starts catches up first: every shard has an owner, this member's replicas are voters of their groups,
//! and each is applied almost as far as its owner's. A rolling restart that went on before that would lose a quorum.
//! Later changes of these three take no working node out of service, because no other node could do better: metrics
//! and alerts report them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use storage::ShardId;
use tokio::time::{MissedTickBehavior, interval};

use crate::ids::shard_name;
use crate::member::Member;
use crate::membership::placement_of;
use crate::shard::MemberMethod;

/// Interval of the checks until the member has caught up.
const CHECK: Duration = Duration::from_millis(100);
/// Time limit of a request for the position of a shard's owner.
const DEADLINE: Duration = Duration::from_secs(2);
/// Entries that a replica may lack of its owner's applied ones. Under load a follower always lacks those that the next
/// heartbeat commits.
pub const PERMITTED_LAG: u64 = 200;

/// Checks until the member has caught up or stops.
pub(super) async fn run(node: Arc<Member>) {
    let mut ticks = interval(CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stopping().cancelled() => return,
        }
        match node.caught_up().await {
            Ok(()) => {
                node.is_stable.store(true, Ordering::Release);
                return;
            }
            Err(reason) => *node.catching_up.lock() = reason,
        }
    }
}

// === impl Member ===

impl Member {
    pub(crate) fn ready(&self) -> Result<(), String> {
        if let Some(reason) = self.store_poisoned() {
            return Err(format!("storage failed: {reason}"));
        }
        if let Some(reason) = self.end_of_membership() {
            return Err(reason);
        }
        if self.is_below_level() {
            return Err(format!(
                "this build supports feature level {}, which the cluster has passed: start a newer build",
                self.config.supported_level
            ));
        }
        if let Some(reason) = self.stopped_replica() {
            return Err(reason);
        }
        if self.is_draining() {
            return Err("draining".to_owned());
        }
        if self.isolated() {
            return Err("isolated: no contact with a majority of the members".to_owned());
        }
        let standing = self.clock().look();
        if standing.outside {
            return Err(wrong_clock(standing.skew_ms));
        }
        if !self.is_stable.load(Ordering::Acquire) {
            return Err(self.catching_up.lock().clone());
        }
        Ok(())
    }

    /// Checks the conditions of the start.
    async fn caught_up(&self) -> Result<(), String> {
        let unowned = self.map().all_shards().find(|&shard| !self.has_owner(shard));
        if let Some(shard) = unowned {
            return Err(format!("shard {} has no known owner", shard_name(shard)));
        }
        self.check_voters()?;
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            // An owner lacks nothing, and a replica that is to leave need not catch up.
            if replica.epoch().is_some() || !self.is_placed_here(shard) {
                continue;
            }
            let Some(owners) = self.ask_applied(shard).await else {
                return Err(format!(
                    "the owner of shard {} does not answer",
                    shard_name(shard)
                ));
            };
            let lag = owners.saturating_sub(replica.group.status().applied);
            if lag > PERMITTED_LAG {
                let shard = shard_name(shard);
                return Err(format!("the replica of shard {shard} lacks {lag} entries"));
            }
        }
        Ok(())
    }

    fn is_placed_here(&self, shard: ShardId) -> bool {
        let map = self.map();
        map.placement(shard)
            .is_some_and(|placement| placement.replicas.contains(&self.id()))
    }

    /// Asks the owner of a shard for its applied index; `None` without a response or a known owner.
    async fn ask_applied(&self, shard: ShardId) -> Option<u64> {
        let (owner, _) = self.table.owner(shard)?;
        let body = Bytes::copy_from_slice(&shard.0.to_be_bytes());
        let answer = self.ask_rpc(owner, MemberMethod::GetApplied, body, DEADLINE);
        answer.await?.try_get_u64().ok()
    }

    /// Checks that the placement is complete and that this member's replicas are voters of their groups.
    fn check_voters(&self) -> Result<(), String> {
        let map = self.map();
        let (shards, meta) = placement_of(&map, self.config.replication);
        // The map's placement is not the one for the current members yet, so it does not show this member's share.
        if (&map.shards, &map.meta) != (&shards, &meta) {
            return Err("the shards are being placed".to_owned());
        }
        for shard in map.all_shards() {
            let Some(placement) = map.placement(shard) else {
                continue;
            };
            if !placement.replicas.contains(&self.id()) {
                continue;
            }
            let complete = self.replica(shard).is_some_and(|replica| {
                let voters = replica.group.voters();
                voters.len() == placement.replicas.len()
                    && placement.replicas.iter().all(|n| voters.contains(n))
            });
            if !complete {
                return Err(format!("shard {} is being copied", shard_name(shard)));
            }
        }
        Ok(())
    }

    /// Returns the readiness error for a replica that stopped before an entry that this build cannot decode.
    fn stopped_replica(&self) -> Option<String> {
        let replicas = self.all_replicas();
        replicas.iter().find_map(|replica| {
            let reason = replica.group.undecodable()?;
            let shard = shard_name(replica.group.shard());
            Some(format!(
                "the replica of shard {shard} stopped, start a newer build: {reason}"
            ))
        })
    }

    fn store_poisoned(&self) -> Option<String> {
        self.store.poisoned()
    }
}

/// Returns the readiness error for a clock that is too far from the majority's.
fn wrong_clock(skew_ms: Option<i64>) -> String {
    let how = match skew_ms {
        Some(skew_ms) if skew_ms < 0 => format!("{} ms behind the majority's", skew_ms.unsigned_abs()),
        Some(skew_ms) => format!("{skew_ms} ms ahead of the majority's"),
        None => "too far from the majority's by an unknown amount".to_owned(),
    };
    format!("the clock is {how}: this node owns no shards until it is corrected")
}
