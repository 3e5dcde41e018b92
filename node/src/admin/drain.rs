//! Drains that operators order: the node hands over its shards, closes its sessions, and goes on as a replica.

use std::time::Duration;

use cluster::NodeId;

use super::NodeAdmin;
use crate::rpc;
use crate::rpc::{DrainOrder, DrainResult};
use crate::session::NodeState;

/// Time for the answer of the node: it begins the drain and does not wait for its end.
const ORDER_TIMEOUT: Duration = Duration::from_secs(2);

/// Reason for which an order had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    #[error("there is no such node")]
    Unknown,
    /// The node did not answer: the order may have arrived.
    #[error("the node did not answer in time")]
    Silent,
    #[error("{0}")]
    Refused(String),
}

// === impl NodeAdmin: drain ===

impl NodeAdmin {
    /// Sends an order to a node, this one included. Returns when the node follows it, which for a drain is its beginning.
    ///
    /// # Errors
    /// [`DrainError`].
    pub(crate) async fn order(&self, node: NodeId, order: DrainOrder) -> Result<(), DrainError> {
        let members = self.inner.deps.cluster.nodes();
        if !members.iter().any(|member| member.id == node) {
            return Err(DrainError::Unknown);
        }
        // A node that leaves drains by the cluster map, whatever it is ordered.
        let had_to_leave = match order {
            DrainOrder::Drain => false,
            DrainOrder::Resume => {
                let stays = self.stay(node).await;
                stays.map_err(|error| DrainError::Refused(error.to_string()))?
            }
        };
        let answer: Option<DrainResult> = self.ask(node, rpc::ORDER_DRAIN, &order, ORDER_TIMEOUT).await;
        match answer {
            Some(None) => Ok(()),
            Some(Some(reason)) => Err(DrainError::Refused(reason)),
            // It reads in the map that it stays.
            None if had_to_leave => Ok(()),
            None => Err(DrainError::Silent),
        }
    }

    /// Follows an order on this node. Returns the reason for a refusal.
    pub(super) fn follow(&self, order: DrainOrder) -> DrainResult {
        if self.inner.deps.admission.is_stopping() {
            return Some("the node is stopping".to_owned());
        }
        match order {
            DrainOrder::Drain => self.begin_drain(),
            DrainOrder::Resume => {
                self.resume();
                None
            }
        }
    }

    pub(super) fn begin_drain(&self) -> DrainResult {
        let deps = &self.inner.deps;
        let status = deps.cluster.status();
        let takes_over =
            |member: &cluster::NodeStatus| member.id != status.node && member.alive && !member.draining;
        if !status.nodes.iter().any(takes_over) {
            return Some("no other node could take over the shards and sessions".to_owned());
        }
        let mut drain = self.inner.drain.lock();
        // A repeat changes nothing.
        if drain.is_some() {
            return None;
        }
        let (cluster, admission) = (deps.cluster.clone(), deps.admission.clone());
        tracing::info!("drain begins: shards first, then sessions");
        *drain = Some(deps.runtime.spawn(async move {
            // Shards first: the commands of open sessions follow the new owners.
            admission.send(NodeState::HandOver);
            cluster.drain().await;
            admission.send(NodeState::Drain);
        }));
        None
    }

    pub(super) fn resume(&self) {
        let Some(drain) = self.inner.drain.lock().take() else {
            return;
        };
        // It would otherwise close the sessions that begin from now on.
        drain.abort();
        tracing::info!("drain ended, the node serves again");
        self.inner.deps.cluster.resume();
        self.inner.deps.admission.resume();
    }
}
