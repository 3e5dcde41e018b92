//! Duties of members: the configured one, the end of a leaving member, and the owners that operators choose.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage::ShardId;

use crate::ids::{NodeDuty, NodeId};
use crate::member::Member;
use crate::shard::{ClusterMap, MapChange, MapChangeResult};

// === impl Member: duties ===

impl Member {
    /// Returns the duty of this member as the map has it.
    pub(crate) fn duty(&self) -> NodeDuty {
        self.map().duty(self.id())
    }

    /// Changes the duty of a member.
    pub(crate) async fn set_duty(self: &Arc<Member>, node: NodeId, duty: NodeDuty) -> Result<(), String> {
        self.change_or_reason(MapChange::SetDuty { node, duty }).await
    }

    /// Lets a replica own its shard until [`unpin`](Self::unpin).
    pub(crate) async fn pin(self: &Arc<Member>, shard: ShardId, node: NodeId) -> Result<(), String> {
        self.change_or_reason(MapChange::Pin { shard: shard.0, node })
            .await
    }

    /// Lets the placement choose the owners of all shards again.
    pub(crate) async fn unpin(self: &Arc<Member>) -> Result<(), String> {
        self.change_or_reason(MapChange::Unpin).await
    }

    /// Returns whether every group's owner confirms that the node votes in it no more.
    async fn is_free(&self, node: NodeId) -> bool {
        for shard in self.map().all_shards() {
            // Without an answer it counts as voting: removed too early, it would be missing for a majority.
            match self.ask_voters(shard).await {
                Some(voters) if !voters.contains(&node) => {}
                _ => return false,
            }
        }
        true
    }
}

/// Changes this member's duty in the map if it differs from the configuration. A leaving member stays one.
pub(super) async fn correct_duty(node: &Arc<Member>, map: &ClusterMap) {
    let (known, configured) = (map.duty(node.id()), node.config.duty());
    let is_member = map.nodes.contains_key(&node.id());
    if !is_member || known == configured || known == NodeDuty::Leave {
        return;
    }
    if let Err(reason) = node.set_duty(node.id(), configured).await {
        tracing::debug!(
            reason,
            duty = configured.name(),
            "duty in the cluster map not changed"
        );
    }
}

/// Removes leaving members that no group needs any more. Called by the meta group's owner.
pub(super) fn remove_left(node: &Arc<Member>, map: &ClusterMap) {
    let done: Vec<NodeId> = map
        .leavers()
        .into_iter()
        .filter(|id| !map.places_on(*id))
        .collect();
    if done.is_empty() || node.checks_leavers.swap(true, Ordering::AcqRel) {
        return;
    }
    // In a task: it asks the owner of every shard, and the reconciliation must not wait for one that is silent.
    let node_ = node.clone();
    node.tasks().spawn(async move {
        for id in done {
            if !node_.is_free(id).await {
                continue;
            }
            match node_.change(MapChange::Remove { node: id }).await {
                Ok(MapChangeResult::Done { .. }) => {
                    tracing::info!(node = %id, "a member has left the cluster");
                    node_.changed.notify_one();
                }
                other => tracing::debug!(node = %id, ?other, "leaving member not removed, will retry"),
            }
        }
        node_.checks_leavers.store(false, Ordering::Release);
    });
}
