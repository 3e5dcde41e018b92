//! Figures of the conversation side.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) lane_commands: Gauge,
    pub(crate) lane_batches: Counter,
    pub(crate) lane_restarts: Counter,
    pub(crate) lane_refused: Counter,
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
    pub(crate) outbox_oldest_ms: Gauge,
    pub(crate) retention_steps: Counter,
    pub(crate) hooks_told: Counter,
    pub(crate) hooks_dropped: Counter,
}

// === impl Metrics ===

impl Metrics {
    /// Puts every figure into the registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("conversation");
        r.register(
            "lane_commands",
            "Commands waiting for an answer of their owner",
            self.lane_commands.clone(),
        );
        r.register(
            "lane_batches",
            "Batches sent to owners",
            self.lane_batches.clone(),
        );
        r.register(
            "lane_restarts",
            "Times a lane sent its window again",
            self.lane_restarts.clone(),
        );
        r.register(
            "lane_refused",
            "Commands refused busy, unavailable or unknown",
            self.lane_refused.clone(),
        );
        r.register(
            "cursors",
            "Read and delivered cursors that sessions reported",
            self.cursors.clone(),
        );
        r.register(
            "cursors_sent",
            "Commands that they became, after gathering",
            self.cursors_sent.clone(),
        );
        r.register("shards", "Shards whose actors run here", self.shards.clone());
        r.register("actors", "Conversation actors", self.actors.clone());
        r.register(
            "actors_rebuilt",
            "Conversation actors rebuilt after a panic",
            self.actors_rebuilt.clone(),
        );
        r.register("proposed", "Commands given to the log", self.proposed.clone());
        r.register(
            "committed",
            "Commands committed and applied",
            self.committed.clone(),
        );
        r.register(
            "rounds",
            "Batches of commands given to the log",
            self.rounds.clone(),
        );
        r.register(
            "prechecked",
            "Commands answered without the log",
            self.prechecked.clone(),
        );
        r.register(
            "fanout_records",
            "Deliveries to nodes",
            self.fanout_records.clone(),
        );
        r.register(
            "fanout_frames",
            "Frames of deliveries",
            self.fanout_frames.clone(),
        );
        r.register(
            "fanout_dropped",
            "Frames that could not be sent",
            self.fanout_dropped.clone(),
        );
        r.register(
            "relay_events",
            "Events handed to workers",
            self.relay_events.clone(),
        );
        r.register(
            "relay_gaps",
            "Times a lost delivery was noticed",
            self.relay_gaps.clone(),
        );
        r.register(
            "relay_dropped",
            "Frames dropped because the relay was behind",
            self.relay_dropped.clone(),
        );
        r.register(
            "relay_pulls",
            "Ranges read to fill a gap",
            self.relay_pulls.clone(),
        );
        r.register(
            "registrations",
            "Registrations sent to owners",
            self.registrations.clone(),
        );
        r.register(
            "worker_overflows",
            "Times a worker was too slow",
            self.worker_overflows.clone(),
        );
        r.register(
            "reads",
            "Questions answered from the applied state",
            self.reads.clone(),
        );
        r.register(
            "reads_refused",
            "Questions refused because too many waited",
            self.reads_refused.clone(),
        );
        r.register(
            "outbox_oldest_ms",
            "Age of the oldest undelivered outbox entry",
            self.outbox_oldest_ms.clone(),
        );
        r.register(
            "retention_steps",
            "Commands that let go of old events",
            self.retention_steps.clone(),
        );
        r.register(
            "hooks_told",
            "Messages that the hook was told of",
            self.hooks_told.clone(),
        );
        r.register(
            "hooks_dropped",
            "Messages that the hook is not told of because too many waited",
            self.hooks_dropped.clone(),
        );
    }
}
