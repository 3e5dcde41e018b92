//! Metrics of presence, typing and revocations.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of users' soft state. Clones share their counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserMetrics {
    pub(crate) sessions: Gauge,
    pub(crate) watched: Gauge,
    pub(crate) registrations: Counter,
    pub(crate) updates: Counter,
    pub(crate) updates_rejected: Counter,
    pub(crate) displaced: Counter,
    pub(crate) seen_saved: Counter,
    pub(crate) presence_pushed: Counter,
    pub(crate) presence_waiting: Gauge,
    pub(crate) worker_behind: Counter,
    pub(crate) typing: Counter,
    pub(crate) typing_dropped: Counter,
    pub(crate) revocations_unsent: Counter,
}

// === impl UserMetrics ===

impl UserMetrics {
    /// Registers every metric: those of presence under the prefix `presence`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "revocations_unsent",
            "Failed notifications of a node about an ended login: node unreachable, or queue full",
            self.revocations_unsent.clone(),
        );
        let r = registry.sub_registry_with_prefix("presence");
        r.register(
            "sessions",
            "Sessions registered with shard owners",
            self.sessions.clone(),
        );
        r.register(
            "watched",
            "Users watched by sessions of this node",
            self.watched.clone(),
        );
        r.register(
            "registrations",
            "Registrations of sessions and watches sent to shard owners",
            self.registrations.clone(),
        );
        r.register(
            "updates",
            "Presence updates sent to nodes by this shard owner",
            self.updates.clone(),
        );
        r.register(
            "updates_rejected",
            "Presence updates refused because the update queue was full",
            self.updates_rejected.clone(),
        );
        r.register(
            "displaced",
            "Sessions replaced by another session of their device",
            self.displaced.clone(),
        );
        r.register(
            "last_seen_writes",
            "Writes of a user's last-seen time",
            self.seen_saved.clone(),
        );
        r.register(
            "pushed",
            "Presence events sent to sessions",
            self.presence_pushed.clone(),
        );
        r.register(
            "waiting",
            "Presence events queued for slow consumers, at most one per user",
            self.presence_waiting.clone(),
        );
        r.register(
            "worker_behind",
            "Overflows of a worker's presence queue",
            self.worker_behind.clone(),
        );
        r.register("typing", "Typing notifications fanned out", self.typing.clone());
        r.register(
            "typing_dropped",
            "Typing notifications dropped: no shard owner, full queue, not a member, or above the rate limit",
            self.typing_dropped.clone(),
        );
    }
}
