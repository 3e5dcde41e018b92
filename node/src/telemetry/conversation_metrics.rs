//! Metrics of the conversation side.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConversationMetrics {
    pub(crate) queued_commands: Gauge,
    pub(crate) queue_batches: Counter,
    pub(crate) queue_restarts: Counter,
    pub(crate) queue_rejected: Counter,
    pub(crate) cursors: Counter,
    pub(crate) cursors_sent: Counter,
    pub(crate) shards: Gauge,
    pub(crate) actors: Gauge,
    pub(crate) actors_rebuilt: Counter,
    pub(crate) proposed: Counter,
    pub(crate) committed: Counter,
    pub(crate) rounds: Counter,
    pub(crate) prechecked: Counter,
    pub(crate) fanout_records: Counter,
    pub(crate) fanout_frames: Counter,
    pub(crate) fanout_dropped: Counter,
    pub(crate) relay_events: Counter,
    pub(crate) relay_gaps: Counter,
    pub(crate) relay_dropped: Counter,
    pub(crate) relay_pulls: Counter,
    pub(crate) registrations: Counter,
    pub(crate) worker_overflows: Counter,
    pub(crate) reads: Counter,
    pub(crate) reads_refused: Counter,
    /// Age of the oldest outbox entry of all shards, in seconds.
    pub(crate) outbox_oldest: Gauge<f64, AtomicU64>,
    pub(crate) retention_steps: Counter,
    pub(crate) webhook_delivered: Counter,
    pub(crate) hooks_dropped: Counter,
}

// === impl ConversationMetrics ===

impl ConversationMetrics {
    /// Registers every metric: those of the shards and actors under the prefix `conversation`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "command_queue_commands",
            "Commands waiting for the response of their shard owner",
            self.queued_commands.clone(),
        );
        registry.register(
            "command_queue_batches",
            "Batches sent to shard owners",
            self.queue_batches.clone(),
        );
        registry.register(
            "command_queue_restarts",
            "Resends of a command queue's send window",
            self.queue_restarts.clone(),
        );
        registry.register(
            "command_queue_refused",
            "Commands answered with busy, unavailable or unknown",
            self.queue_rejected.clone(),
        );
        registry.register(
            "shard_batches",
            "Batches of commands proposed to the log",
            self.rounds.clone(),
        );
        registry.register(
            "subscription_events",
            "Events dispatched to workers",
            self.relay_events.clone(),
        );
        registry.register(
            "subscription_gaps",
            "Gaps detected in the deliveries of a registration",
            self.relay_gaps.clone(),
        );
        registry.register(
            "subscription_dropped",
            "Delivery frames dropped because the queue of incoming deliveries was full",
            self.relay_dropped.clone(),
        );
        registry.register(
            "subscription_pulls",
            "Ranges of events read from the log to fill a gap",
            self.relay_pulls.clone(),
        );
        registry.register(
            "queries",
            "Queries answered from the applied state",
            self.reads.clone(),
        );
        registry.register(
            "queries_refused",
            "Queries refused because the query queue was full",
            self.reads_refused.clone(),
        );
        registry.register(
            "webhook_delivered",
            "Messages delivered to the webhook",
            self.webhook_delivered.clone(),
        );
        registry.register(
            "webhook_dropped",
            "Messages dropped because the webhook backlog was full",
            self.hooks_dropped.clone(),
        );
        let r = registry.sub_registry_with_prefix("conversation");
        r.register(
            "cursors",
            "Read and delivered cursor moves received from sessions",
            self.cursors.clone(),
        );
        r.register(
            "cursors_sent",
            "Cursor commands sent after coalescing",
            self.cursors_sent.clone(),
        );
        r.register(
            "shards",
            "Shards with a running actor on this node",
            self.shards.clone(),
        );
        r.register("actors", "Running conversation actors", self.actors.clone());
        r.register(
            "actors_rebuilt",
            "Conversation actors restarted after a panic",
            self.actors_rebuilt.clone(),
        );
        r.register("proposed", "Commands proposed to the log", self.proposed.clone());
        r.register(
            "committed",
            "Commands committed and applied",
            self.committed.clone(),
        );
        r.register(
            "prechecked",
            "Commands answered by the precheck, without a log entry",
            self.prechecked.clone(),
        );
        r.register(
            "fanout_records",
            "Deliveries sent to nodes",
            self.fanout_records.clone(),
        );
        r.register(
            "fanout_frames",
            "Delivery frames sent",
            self.fanout_frames.clone(),
        );
        r.register(
            "fanout_dropped",
            "Delivery frames that could not be sent",
            self.fanout_dropped.clone(),
        );
        r.register(
            "registrations",
            "Registrations sent to shard owners",
            self.registrations.clone(),
        );
        r.register(
            "worker_overflows",
            "Overflows of a worker's event queue",
            self.worker_overflows.clone(),
        );
        r.register(
            "outbox_oldest_seconds",
            "Age of the oldest unacknowledged outbox entry, in seconds",
            self.outbox_oldest.clone(),
        );
        r.register(
            "retention_steps",
            "Retention commands that deleted old events",
            self.retention_steps.clone(),
        );
    }
}
