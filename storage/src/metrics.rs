//! Metrics of the store. [`Metrics::register`] gives them their names.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::latency_buckets::LatencyBuckets;

/// Counters and gauges of a store. Cheap to clone; clones share the values.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Commit groups that the storage writer wrote.
    pub rounds: Counter,
    /// Fsyncs of the write-ahead log.
    pub fsyncs: Counter,
    /// Log entries that the storage writer wrote.
    pub entries: Counter,
    /// Bytes of keys and values that the storage writer wrote.
    pub bytes: Counter,
    /// Committed transactions of the applied state.
    pub commits: Counter,
    /// Operations refused because the disk is full.
    pub refused: Counter,
    /// Log entries made durable by one fsync, which shows the effect of group commit.
    pub entries_per_fsync: Histogram,
    /// Duration of one fsync, in seconds.
    pub fsync_seconds: Histogram,
    /// The same durations, of which this process computes quantiles.
    pub fsync_latency: Arc<LatencyBuckets>,
    /// Operations in the write queue.
    pub queue_length: Gauge,
    /// Bytes of the operations in the write queue.
    pub queue_bytes: Gauge,
    /// Free bytes of the file system at the last measurement.
    pub free_bytes: Gauge,
    /// Free bytes below which new work is refused.
    pub free_space_reserve_bytes: Gauge,
    /// 1 when the store is poisoned.
    pub poisoned: Gauge,
    /// 1 if the store syncs before it acknowledges, 0 in os mode.
    pub fsync_enabled: Gauge,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            rounds: Counter::default(),
            fsyncs: Counter::default(),
            entries: Counter::default(),
            bytes: Counter::default(),
            commits: Counter::default(),
            refused: Counter::default(),
            // 1 to 8192.
            entries_per_fsync: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            // 0.1 ms to 3.3 s.
            fsync_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            fsync_latency: Arc::default(),
            queue_length: Gauge::default(),
            queue_bytes: Gauge::default(),
            free_bytes: Gauge::default(),
            free_space_reserve_bytes: Gauge::default(),
            poisoned: Gauge::default(),
            fsync_enabled: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers all metrics under their names.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("storage");
        registry.register(
            "commit_groups",
            "Commit groups written by the storage writer",
            self.rounds.clone(),
        );
        registry.register("fsyncs", "Fsyncs of the write-ahead log", self.fsyncs.clone());
        registry.register("entries", "Log entries written", self.entries.clone());
        registry.register("bytes", "Bytes written by the storage writer", self.bytes.clone());
        registry.register(
            "commits",
            "Transactions on the applied state",
            self.commits.clone(),
        );
        registry.register(
            "refused",
            "Operations refused because the disk space reserve was reached",
            self.refused.clone(),
        );
        let help = "Log entries synced by one fsync";
        registry.register("entries_per_fsync", help, self.entries_per_fsync.clone());
        registry.register(
            "fsync_seconds",
            "Duration of an fsync, in seconds",
            self.fsync_seconds.clone(),
        );
        registry.register(
            "queue_length",
            "Operations queued for the writer",
            self.queue_length.clone(),
        );
        registry.register(
            "queue_bytes",
            "Bytes queued for the writer",
            self.queue_bytes.clone(),
        );
        registry.register(
            "free_bytes",
            "Free space of the file system, in bytes",
            self.free_bytes.clone(),
        );
        registry.register(
            "free_space_reserve_bytes",
            "Free space below which new messages are refused, in bytes",
            self.free_space_reserve_bytes.clone(),
        );
        registry.register(
            "poisoned",
            "1 when nothing is acknowledged any more",
            self.poisoned.clone(),
        );
        let help = "1 when acknowledged means on disk, 0 in os mode";
        registry.register("fsync_enabled", help, self.fsync_enabled.clone());
    }
}
