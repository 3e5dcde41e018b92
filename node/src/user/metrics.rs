//! Figures of presence and typing.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) seats: Gauge,
    pub(crate) watched: Gauge,
    pub(crate) registrations: Counter,
    pub(crate) news: Counter,
    pub(crate) news_refused: Counter,
    pub(crate) displaced: Counter,
    pub(crate) seen_saved: Counter,
    pub(crate) presence_pushed: Counter,
    pub(crate) presence_waiting: Gauge,
    pub(crate) worker_behind: Counter,
    pub(crate) typing: Counter,
    pub(crate) typing_dropped: Counter,
    pub(crate) logins_untold: Counter,
}

// === impl Metrics ===

impl Metrics {
    /// Puts every figure into the registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("user");
        r.register(
            "seats",
            "Connected sessions that owners were told of",
            self.seats.clone(),
        );
        r.register("watched", "Users watched by sessions here", self.watched.clone());
        r.register(
            "registrations",
            "Requests that told owners of sessions and watched users",
            self.registrations.clone(),
        );
        r.register("news", "News told to nodes by this owner", self.news.clone());
        r.register(
            "news_refused",
            "News of owners refused because too much waited",
            self.news_refused.clone(),
        );
        r.register(
            "displaced",
            "Sessions that gave way to another of their device",
            self.displaced.clone(),
        );
        r.register(
            "seen_saved",
            "Times noted at which users were seen last",
            self.seen_saved.clone(),
        );
        r.register(
            "presence_pushed",
            "Presence events handed to sessions",
            self.presence_pushed.clone(),
        );
        r.register(
            "presence_waiting",
            "Presence events that wait for slow sessions, the newest of each user",
            self.presence_waiting.clone(),
        );
        r.register(
            "worker_behind",
            "Times a worker was too slow for presence",
            self.worker_behind.clone(),
        );
        r.register("typing", "Typing notices fanned out", self.typing.clone());
        r.register(
            "typing_dropped",
            "Typing notices dropped: no owner, no room, no member or too many of them",
            self.typing_dropped.clone(),
        );
        r.register(
            "logins_untold",
            "Times a node was not told that a login has ended: it could not be reached, or too many were being told",
            self.logins_untold.clone(),
        );
    }
}
