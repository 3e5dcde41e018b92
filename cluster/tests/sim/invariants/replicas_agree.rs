//! Replicas of a shard that are at the same index have the same digest, at any moment of a run, over crashes, restarts
//! and snapshots.

use std::collections::HashMap;

use cluster::{NodeId, Status};

use crate::simulation::Simulation;

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
            let report = (local.digest.clone(), status.node);
            let position = (shard.shard, local.applied);
            let (digest, first) = self.seen.entry(position).or_insert_with(|| report.clone());
            if *digest != report.0 && self.disagreement.is_none() {
                self.disagreement = Some(format!(
                    "shard {} at {}: member {first} has digest {digest}, member {} has {}",
                    shard.shard, local.applied, status.node, report.0
                ));
            }
        }
    }
}

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    simulation.observe();
    match &simulation.digests.borrow().disagreement {
        Some(disagreement) => Err(disagreement.clone()),
        None => Ok(()),
    }
}

/// Whether all members are at the same index of every shard, which makes the comparison one of all of them.
pub(crate) fn level(simulation: &Simulation) -> bool {
    let mut positions = simulation.members.iter().map(|member| {
        let status = member.running()?.status();
        let shards = status.shards.iter().chain([&status.meta]);
        shards
            .map(|shard| Some(shard.local.as_ref()?.applied))
            .collect::<Option<Vec<u64>>>()
    });
    let first = positions.next().flatten();
    first.is_some() && positions.all(|position| position == first)
}
