//! `[limits]`: bounds of every queue and rate that a client can fill.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::state_machine::consent::AdditionLimits;

section! {
    /// Bounds on the resources of one client. docs/protocol.md describes the behavior at each bound.
    pub struct LimitsConfig {
        /// Maximum WebSocket message in bytes, whole or in fragments. Refused by its declared length (1009).
        max_frame_bytes: usize = 65_536,
        /// Maximum size of the body `b` of one message, in bytes of JSON text.
        body_bytes: usize = 16_384,
        /// Commands that change something, per second and user, over all connections and nodes: the sustained rate.
        sends_per_s: u32 = 20,
        /// ... and the burst.
        burst: u32 = 60,
        /// Commands that only read (list, hist, sync, open), per second and user: the sustained rate.
        queries_per_s: u32 = 50,
        /// ... and the burst.
        query_burst: u32 = 200,
        /// Typing notifications per second and user. Further ones are dropped.
        ephemeral_per_s: u32 = 2,
        /// Frames without a request (pings, pongs, small fragments, ignored messages), per second and connection: the
        /// sustained rate. The burst is ten times as large.
        control_frames_per_s: u32 = 100,
        /// A client that exceeds its rate by this factor ...
        abuse_factor: u32 = 3,
        /// ... for this long is disconnected (4208).
        abuse_ms: Millis = Millis(10_000),
        /// Unacknowledged sends at which reading from the connection pauses.
        unacked_sends: usize = 16,
        /// Bytes of unacknowledged sends at which reading from the connection pauses.
        unacked_bytes: usize = 262_144,
        /// Frames queued for a slow client. Above half of it, ephemeral events are dropped; when the queue is full, it
        /// is cleared and the client must resync.
        outbox_frames: usize = 256,
        /// Bytes of these frames.
        outbox_bytes: usize = 262_144,
        /// Events kept per session until the client confirms them. A resumed session receives them again.
        ring_events: usize = 1_024,
        /// Bytes of these events.
        ring_bytes: usize = 262_144,
        /// A client that must resync twice within this time is disconnected (4010).
        slow_again_ms: Millis = Millis(30_000),
        /// Maximum number of frames in one write to a connection.
        coalesce_frames: usize = 64,
        /// Bytes after which one write to a connection ends.
        coalesce_bytes: usize = 16_384,
        /// Maximum length of a token in bytes.
        token_bytes: usize = 8_192,
        /// Conversations that one session receives events of, most recent first. Opening another one adds it.
        subscriptions: usize = 1_000,
        /// Maximum number of sessions per user, over all nodes (4429).
        sessions_per_user: usize = 100,
        /// Groups and channels that one user may add another user to within 24 hours; 0 disables the limit. Users are
        /// added without their consent, so this limit protects their lists from strangers.
        added_by_one_per_day: u32 = 50,
        /// Groups and channels that a user may be added to within 24 hours by all other users together.
        added_per_day: u32 = 500,
        /// Maximum number of users whose presence one session watches.
        watched_users: usize = 500,
        /// Maximum number of rows in one page of list, hist and members.
        page: usize = 100,
        /// Maximum number of conversations in one sync request.
        sync_page: usize = 200,
        /// Bytes of one sync answer after which the rest is left for the next page.
        sync_bytes: usize = 1 << 20,
    }
}

// === impl LimitsConfig ===

impl LimitsConfig {
    /// Returns the limits on additions by other users.
    #[must_use]
    pub fn added(&self) -> AdditionLimits {
        AdditionLimits {
            by_one: self.added_by_one_per_day,
            by_all: self.added_per_day,
        }
    }

    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("limits.max_frame_bytes", self.max_frame_bytes as u64, 1_024);
        problems.at_least("limits.body_bytes", self.body_bytes as u64, 2);
        if self.body_bytes + 512 > self.max_frame_bytes {
            problems.add(
                "limits.body_bytes",
                "must leave 512 bytes of limits.max_frame_bytes for the other fields",
            );
        }
        problems.at_least("limits.sends_per_s", u64::from(self.sends_per_s), 1);
        problems.at_least("limits.burst", u64::from(self.burst), 1);
        problems.at_least("limits.queries_per_s", u64::from(self.queries_per_s), 1);
        problems.at_least("limits.query_burst", u64::from(self.query_burst), 1);
        // With a factor of 1, a client within its rate would count as abusive.
        problems.at_least("limits.abuse_factor", u64::from(self.abuse_factor), 2);
        problems.at_least("limits.unacked_sends", self.unacked_sends as u64, 1);
        problems.at_least("limits.unacked_bytes", self.unacked_bytes as u64, 1);
        problems.at_least("limits.outbox_frames", self.outbox_frames as u64, 8);
        problems.at_least("limits.outbox_bytes", self.outbox_bytes as u64, 4_096);
        problems.at_least("limits.ring_events", self.ring_events as u64, 8);
        problems.at_least("limits.ring_bytes", self.ring_bytes as u64, 4_096);
        problems.at_least("limits.coalesce_frames", self.coalesce_frames as u64, 1);
        problems.at_least("limits.coalesce_bytes", self.coalesce_bytes as u64, 1);
        problems.at_least("limits.sessions_per_user", self.sessions_per_user as u64, 1);
        // Each addition reads all additions of the last 24 hours; the bound limits that cost.
        if self.added_per_day > 10_000 || self.added_by_one_per_day > 10_000 {
            problems.add(
                "limits.added_per_day",
                "must be at most 10000, as added_by_one_per_day",
            );
        }
        problems.at_least("limits.page", self.page as u64, 1);
        problems.at_least("limits.sync_page", self.sync_page as u64, 1);
    }
}
