//! Figures of a cluster member.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Standing;

/// Figures of a cluster member. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    proposals: Counter,
    proposals_failed: Counter,
    commands: Counter,
    takeovers: Counter,
    owned_shards: Gauge,
    map_version: Gauge,
    transfers: Counter,
    membership_changes: Counter,
    read_rounds: Counter,
    reads: Counter,
    reads_refused: Counter,
    clock_skew_ms: Gauge,
    clock_wrong: Gauge,
    suspensions: Counter,
}

// === impl Metrics ===

impl Metrics {
    /// Adds the figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let m = &self.inner;
        registry.register(
            "proposals",
            "Batches proposed to shard groups on this node",
            m.proposals.clone(),
        );
        registry.register(
            "proposals_failed",
            "Batches whose outcome this node didn't learn",
            m.proposals_failed.clone(),
        );
        registry.register(
            "commands",
            "Commands in the batches that were applied",
            m.commands.clone(),
        );
        registry.register(
            "takeovers",
            "Times this node became the owner of a shard",
            m.takeovers.clone(),
        );
        registry.register(
            "owned_shards",
            "Shards this node owns, the meta group included",
            m.owned_shards.clone(),
        );
        registry.register(
            "map_version",
            "Version of the cluster map in use",
            m.map_version.clone(),
        );
        registry.register(
            "leader_transfers",
            "Leaderships this node handed over",
            m.transfers.clone(),
        );
        registry.register(
            "membership_changes",
            "Changes of replica sets this node carried out",
            m.membership_changes.clone(),
        );
        registry.register(
            "read_rounds",
            "Times a shard's voters were asked whether this node still owns it",
            m.read_rounds.clone(),
        );
        registry.register(
            "reads",
            "Reads that such a round proved to be fresh",
            m.reads.clone(),
        );
        registry.register(
            "reads_refused",
            "Reads refused because a round proved nothing",
            m.reads_refused.clone(),
        );
        registry.register(
            "clock_skew_ms",
            "How far this machine's clock is ahead of what a majority's clocks have reached",
            m.clock_skew_ms.clone(),
        );
        registry.register(
            "clock_wrong",
            "1 while this node owns nothing because its clock is too far from the majority's",
            m.clock_wrong.clone(),
        );
        registry.register(
            "suspensions",
            "Times this machine was suspended, so that its monotonic clock stood still",
            m.suspensions.clone(),
        );
    }

    pub(crate) fn proposed(&self, commands: usize, ok: bool) {
        self.inner.proposals.inc();
        if ok {
            self.inner.commands.inc_by(commands as u64);
        } else {
            self.inner.proposals_failed.inc();
        }
    }

    pub(crate) fn confirmed(&self, reads: usize, proved: bool) {
        self.inner.read_rounds.inc();
        let side = if proved {
            &self.inner.reads
        } else {
            &self.inner.reads_refused
        };
        side.inc_by(reads as u64);
    }

    pub(crate) fn took_over(&self) {
        self.inner.takeovers.inc();
        self.inner.owned_shards.inc();
    }

    pub(crate) fn lost(&self) {
        self.inner.owned_shards.dec();
    }

    pub(crate) fn map_version(&self, version: u64) {
        self.inner
            .map_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    pub(crate) fn transferred(&self) {
        self.inner.transfers.inc();
    }

    pub(crate) fn clock(&self, standing: &Standing) {
        if let Some(skew_ms) = standing.skew_ms {
            self.inner.clock_skew_ms.set(skew_ms);
        }
        self.inner.clock_wrong.set(i64::from(standing.away));
    }

    pub(crate) fn was_suspended(&self) {
        self.inner.suspensions.inc();
    }

    pub(crate) fn membership_changed(&self) {
        self.inner.membership_changes.inc();
    }
}
