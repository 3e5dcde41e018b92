//! Metrics of a cluster member.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::clock::ClockStatus;
use crate::ids::FeatureLevel;

/// Metrics of a cluster member. Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    proposals: Counter,
    proposals_failed: Counter,
    /// Seconds from a proposal to its application on this node.
    proposal_seconds: Histogram,
    /// Seconds in which a replica applies a run of entries.
    apply_seconds: Histogram,
    commands: Counter,
    takeovers: Counter,
    owned_shards: Gauge,
    map_version: Gauge,
    feature_level: Gauge,
    transfers: Counter,
    membership_changes: Counter,
    read_rounds: Counter,
    reads: Counter,
    reads_refused: Counter,
    clock_skew_ms: Gauge,
    clock_wrong: Gauge,
    suspensions: Counter,
}

// === impl Inner ===

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            proposals: Counter::default(),
            proposals_failed: Counter::default(),
            // 0.5 ms to 16 s: from a single fsync to beyond the longest failover.
            proposal_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            // 0.1 ms to 3.3 s.
            apply_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            commands: Counter::default(),
            takeovers: Counter::default(),
            owned_shards: Gauge::default(),
            map_version: Gauge::default(),
            feature_level: Gauge::default(),
            transfers: Counter::default(),
            membership_changes: Counter::default(),
            read_rounds: Counter::default(),
            reads: Counter::default(),
            reads_refused: Counter::default(),
            clock_skew_ms: Gauge::default(),
            clock_wrong: Gauge::default(),
            suspensions: Counter::default(),
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Registers the metrics in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let m = &self.inner;
        registry.register(
            "proposals",
            "Batches proposed to shard groups on this node",
            m.proposals.clone(),
        );
        registry.register(
            "proposals_failed",
            "Batches that ended with an unknown outcome",
            m.proposals_failed.clone(),
        );
        registry.register(
            "proposal_seconds",
            "Time from the proposal of a batch to its application on this node, in seconds",
            m.proposal_seconds.clone(),
        );
        registry.register(
            "apply_seconds",
            "Time in which a replica on this node applies up to 64 committed entries, in seconds",
            m.apply_seconds.clone(),
        );
        registry.register("commands", "Commands in applied batches", m.commands.clone());
        registry.register(
            "takeovers",
            "Takeovers of shards by this node",
            m.takeovers.clone(),
        );
        registry.register(
            "owned_shards",
            "Shards owned by this node, including the meta group",
            m.owned_shards.clone(),
        );
        registry.register(
            "map_version",
            "Version of the cluster map in use",
            m.map_version.clone(),
        );
        registry.register(
            "feature_level",
            "Feature level of the cluster",
            m.feature_level.clone(),
        );
        registry.register(
            "leader_transfers",
            "Leaderships transferred by this node",
            m.transfers.clone(),
        );
        registry.register(
            "membership_changes",
            "Replica set changes completed by this node",
            m.membership_changes.clone(),
        );
        registry.register(
            "read_rounds",
            "Ownership confirmations requested from the voters of a shard",
            m.read_rounds.clone(),
        );
        registry.register(
            "reads",
            "Queries served after an ownership confirmation",
            m.reads.clone(),
        );
        registry.register(
            "reads_refused",
            "Queries refused because an ownership confirmation failed",
            m.reads_refused.clone(),
        );
        registry.register(
            "clock_skew_ms",
            "Offset of this machine's clock from the clocks of a majority; positive: ahead",
            m.clock_skew_ms.clone(),
        );
        registry.register(
            "clock_wrong",
            "1 while this node owns nothing because its clock is too far from the majority's",
            m.clock_wrong.clone(),
        );
        registry.register(
            "suspensions",
            "Suspensions of this machine, during which its monotonic clock stopped",
            m.suspensions.clone(),
        );
    }

    pub(crate) fn proposed(&self, commands: usize, ok: bool, elapsed: Duration) {
        self.inner.proposals.inc();
        if ok {
            self.inner.proposal_seconds.observe(elapsed.as_secs_f64());
            self.inner.commands.inc_by(commands as u64);
        } else {
            self.inner.proposals_failed.inc();
        }
    }

    pub(crate) fn applied(&self, elapsed: Duration) {
        self.inner.apply_seconds.observe(elapsed.as_secs_f64());
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

    pub(crate) fn feature_level(&self, level: FeatureLevel) {
        self.inner.feature_level.set(i64::from(level.0));
    }

    pub(crate) fn transferred(&self) {
        self.inner.transfers.inc();
    }

    pub(crate) fn clock(&self, standing: &ClockStatus) {
        // An unknown skew leaves the last known value: 0 would read as a correct clock.
        if let Some(skew_ms) = standing.skew_ms {
            self.inner.clock_skew_ms.set(skew_ms);
        }
        self.inner.clock_wrong.set(i64::from(standing.outside));
    }

    pub(crate) fn was_suspended(&self) {
        self.inner.suspensions.inc();
    }

    pub(crate) fn membership_changed(&self) {
        self.inner.membership_changes.inc();
    }
}
