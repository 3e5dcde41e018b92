//! Replicas of a shard that are at the same index have the same digest, at any moment of a run, over crashes, restarts
//! and snapshots.

use std::collections::HashMap;

use cluster::NodeId;
use cluster::Status;

use crate::world::World;

/// The digests seen so far.
#[derive(Default)]
pub(crate) struct Digests {
    /// By shard and index: the digest, and who had it first.
    seen: HashMap<(u16, u64), (String, NodeId)>,
    disagreement: Option<String>,
}

// === impl Digests ===

impl Digests {
    /// Takes over what a member says now.
    pub(crate) fn observe(&mut self, status: &Status) {
        for shard in status.shards.iter().chain([&status.meta]) {
            let Some(local) = &shard.local else { continue };
            let said = (local.digest.clone(), status.node);
            let place = (shard.shard, local.applied);
            let (digest, first) = self.seen.entry(place).or_insert_with(|| said.clone());
            if *digest != said.0 && self.disagreement.is_none() {
                self.disagreement = Some(format!(
                    "shard {} at {}: member {first} has digest {digest}, member {} has {}",
                    shard.shard, local.applied, status.node, said.0
                ));
            }
        }
    }
}

pub(crate) fn holds(world: &World) -> Result<(), String> {
    world.observe();
    match &world.digests.borrow().disagreement {
        Some(disagreement) => Err(disagreement.clone()),
        None => Ok(()),
    }
}

/// Whether all members are at the same index of every shard, which makes the comparison one of all of them.
pub(crate) fn level(world: &World) -> bool {
    let mut positions = world.members.iter().map(|member| {
        let status = member.running()?.status();
        let shards = status.shards.iter().chain([&status.meta]);
        shards
            .map(|shard| Some(shard.local.as_ref()?.applied))
            .collect::<Option<Vec<u64>>>()
    });
    let first = positions.next().flatten();
    first.is_some() && positions.all(|position| position == first)
}
