//! `[limits]`: bounds of the queues and rates that a client can fill.

use super::load::Problems;
use super::section::section;
use super::units::HumanSize;

section! {
    /// Bounds on the resources of one client. docs/protocol.md describes the behavior at each bound.
    pub struct LimitsConfig {
        /// Maximum size of the body `b` of one message, as JSON text.
        max_body_size: HumanSize = HumanSize::kib(16),
        /// Commands that change something, per second and user, over all connections and nodes. The burst is three
        /// times as large.
        sends_per_second: u32 = 20,
        /// Commands that only read (list, hist, sync, open), per second and user. The burst is four times as large.
        queries_per_second: u32 = 50,
        /// Data queued for a slow client, and one frame per KiB of it. Above half of it, ephemeral events are dropped.
        /// A full queue is cleared, and the client must resync.
        outbound_queue_size: HumanSize = HumanSize::kib(256),
        /// Events kept per session until the client confirms them, and four events per KiB. A resumed session receives
        /// them again.
        replay_buffer_size: HumanSize = HumanSize::kib(256),
        /// Conversations that one session receives events of, most recent first. Opening another one adds it.
        subscriptions_per_session: usize = 1_000,
        /// Maximum number of sessions per user, over all nodes (4429).
        sessions_per_user: usize = 100,
        /// Groups and channels that one user may add another user to within 24 hours; all other users together may add
        /// a user to ten times as many. 0 disables the limit. Users are added without their consent, so this limit
        /// protects their lists from unknown users.
        additions_per_day: u32 = 50,
    }
}

// === impl LimitsConfig ===

impl LimitsConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("limits.max_body_size", self.max_body_size, HumanSize(2));
        problems.at_least("limits.sends_per_second", self.sends_per_second, 1);
        problems.at_least("limits.queries_per_second", self.queries_per_second, 1);
        // At least eight frames and sixteen events.
        problems.at_least(
            "limits.outbound_queue_size",
            self.outbound_queue_size,
            HumanSize::kib(8),
        );
        problems.at_least(
            "limits.replay_buffer_size",
            self.replay_buffer_size,
            HumanSize::kib(4),
        );
        problems.at_least("limits.sessions_per_user", self.sessions_per_user, 1);
        // Each addition reads all additions of the last 24 hours; the bound limits that cost.
        if self.additions_per_day > 1_000 {
            problems.add("limits.additions_per_day", "must be at most 1000");
        }
    }
}
