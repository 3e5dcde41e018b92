//! Reasons for which a member stops serving while its process runs: an older disk, a removal, a newer feature level, and a
//! store that has failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Member, join};
use crate::blocking::blocking;
use crate::ids::{NodeDuty, NodeId};

// === impl Member: end of service ===

impl Member {
    /// Poisons the store, because peer `by` has seen a newer state of this node's disk. This node must no longer vote,
    /// confirm or own.
    pub(crate) fn incarnation_rejected(&self, by: NodeId) {
        if self.store.poisoned().is_none() {
            let rounds = self.incarnation() >> 16;
            self.store.poison(format!(
                "this disk is an older copy of the node's disk: node {by} has recorded a newer state (this one had {rounds} commit groups at the start). Empty it, remove the node and start it to join again; or restore the newer disk"
            ));
        }
    }

    /// Stops serving, because an operator removed this member, `according_to` another member or the map. Stores a mark
    /// in the data directory, so that the next start reports the removal instead of dialling nodes that refuse it.
    pub(crate) fn was_removed(self: &Arc<Member>, according_to: &str) {
        // Every peer that refuses this node reports the removal again.
        if self.removed.swap(true, Ordering::AcqRel) {
            return;
        }
        // By the last map with this member in it: a leaving member is removed when it has nothing any more.
        let has_left = self.map().duty(self.id()) == NodeDuty::Leave;
        self.has_left.store(has_left, Ordering::Release);
        if has_left {
            tracing::info!(
                node = %self.id(),
                according_to,
                "left the cluster, which holds all data elsewhere: stop this node; its data directory is needed no more"
            );
        } else {
            tracing::warn!(
                node = %self.id(),
                according_to,
                "removed from the cluster, serving stopped: stop this node, empty storage.dir, and start it to join under a new number"
            );
        }
        let node = self.clone();
        self.tasks.spawn(async move {
            let store = node.store.clone();
            let mark: &[u8] = if has_left { join::LEFT } else { &[] };
            let marked = blocking(move || store.put_node(join::REMOVED, mark)).await;
            if !matches!(marked, Ok(Ok(()))) {
                tracing::warn!("failed to persist the removal; the other nodes report it at the next start");
            }
            // Also if the mark was not written: a removed member must not serve.
            node.stop_replicas().await;
        });
    }

    /// Returns the readiness error of a node that is no member any more; `None` for a member.
    pub(super) fn end_of_membership(&self) -> Option<String> {
        let node = self.id();
        if self.has_left.load(Ordering::Acquire) {
            return Some(format!(
                "node {node} has left the cluster, which holds all of its data elsewhere: stop it; to join again under a new number, empty storage.dir and start it"
            ));
        }
        self.removed().then(|| {
            format!(
                "removed from the cluster: node {node} will not be admitted again; stop it, empty storage.dir, and start it to join under a new number"
            )
        })
    }

    /// Stops serving, because the cluster has reached a feature level that this build does not support.
    pub(crate) fn fell_below_level(self: &Arc<Member>) {
        // Every peer refuses this node, and each repeats it.
        if self.below_level.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(
            supported = %self.config.supported_level,
            "this build does not support the feature level of the cluster, serving stopped: start a newer build"
        );
        let node = self.clone();
        self.tasks.spawn(async move { node.stop_replicas().await });
    }

    /// Steps down from all shards when the store is poisoned, since it acknowledges nothing any more and others must
    /// take over.
    pub(super) fn watch_store(self: &Arc<Member>) {
        // Weak: the callback lives as long as the store, which outlives the member.
        let node = Arc::downgrade(self);
        let runtime = tokio::runtime::Handle::current();
        self.store.on_poison(move |error| {
            tracing::error!(%error, "storage failed, stepping down from all shards");
            if let Some(node) = node.upgrade() {
                // The callback runs on the storage writer's thread, which must not wait for Raft groups.
                runtime.spawn(async move { node.stop_replicas().await });
            }
        });
    }
}
