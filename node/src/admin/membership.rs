//! Members that operators let leave, forget or replace, and shards that they move.
//!
//! The cluster map holds each order, so every one goes on when the node that took it, or the one it is about, stops:
//! ```text
//! leave  ─▶ duty `leaving` in the map ─▶ the node drains ─▶ its replicas are placed on others ─▶ removed from the map
//! move   ─▶ the map prefers the chosen replica ─▶ the owner transfers its leadership to it
//! ```

use std::time::Duration;

use cluster::{NodeDuty, NodeId, ShardId};

use super::leave::{self, LeaveOrder};
use super::{NodeAdmin, shard_move};

/// Interval at which a node looks for its duty.
const LOOK: Duration = Duration::from_millis(250);

/// Reason for which the members and shards are unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("the cluster has no such {0}")]
    Unknown(&'static str),
    #[error("{0}")]
    Refused(String),
}

// === impl NodeAdmin: membership ===

impl NodeAdmin {
    /// Begins to let a node leave: it is drained, its replicas move to the others, and it is removed for good.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub(crate) async fn leave(&self, node: NodeId, order: LeaveOrder) -> Result<(), MembershipError> {
        let cluster = &self.inner.deps.cluster;
        leave::may_leave(&cluster.status(), cluster.replication(), node, order)?;
        let changed = cluster.set_duty(node, NodeDuty::Leave).await;
        changed.map_err(MembershipError::Refused)
    }

    /// Removes a node for good that is gone, or drained.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub(crate) async fn forget(&self, node: NodeId) -> Result<(), MembershipError> {
        let cluster = &self.inner.deps.cluster;
        leave::may_forget(&cluster.status(), node)?;
        let removed = cluster.remove_node(node).await;
        removed.map_err(MembershipError::Refused)
    }

    /// Begins to move a shard, or the meta group, to a node with a replica of it. The node keeps it until a
    /// [`rebalance`](Self::rebalance).
    ///
    /// # Errors
    /// [`MembershipError`].
    pub(crate) async fn move_shard(&self, shard: u16, to: NodeId) -> Result<(), MembershipError> {
        shard_move::may_move(&self.overview().await, shard, to.0)?;
        let chosen = self.inner.deps.cluster.choose_owner(ShardId(shard), to).await;
        chosen.map_err(MembershipError::Refused)
    }

    /// Ends every choice of an owner, so that each node owns its share again.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub(crate) async fn rebalance(&self) -> Result<(), MembershipError> {
        let released = self.inner.deps.cluster.release_owners().await;
        released.map_err(MembershipError::Refused)
    }

    /// Lets a leaving node stay. Returns whether it was leaving.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub(super) async fn stay(&self, node: NodeId) -> Result<bool, MembershipError> {
        let cluster = &self.inner.deps.cluster;
        let status = cluster.status();
        let leaves = |member: &cluster::NodeStatus| member.id == node && member.duty == NodeDuty::Leave;
        if !status.nodes.iter().any(leaves) {
            return Ok(false);
        }
        let changed = cluster.set_duty(node, NodeDuty::Replicas).await;
        changed.map(|()| true).map_err(MembershipError::Refused)
    }

    /// Drains this node while it is leaving, by the cluster map, so that it does so after a restart, too. Runs until the
    /// node stops.
    pub async fn follow_duty(self) {
        let deps = &self.inner.deps;
        let mut drains = false;
        while !deps.admission.is_stopping() {
            let leaves = deps.cluster.duty() == NodeDuty::Leave;
            if leaves && !drains {
                // Refused while no other node could take over: tried again.
                drains = self.begin_drain().is_none();
            } else if drains && !leaves && !deps.cluster.removed() {
                self.resume();
                drains = false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
