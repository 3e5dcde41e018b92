//! `[limits]`: the bound of every queue and rate that a client can fill, each with its reason.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::timeline::consent::Bounds;

section! {
    /// Bounds on what one client can ask for. What happens when one is reached stands in docs/protocol.md.
    pub struct Limits {
        /// Largest WebSocket message, whole or in fragments; refused by its declared length, before buffering (1009).
        max_frame_bytes: usize = 65_536,
        /// Largest body `b` of one message, as JSON text.
        body_bytes: usize = 16_384,
        /// Commands that change something, per user and second in the long run, over all connections and nodes.
        sends_per_s: u32 = 20,
        /// ... and at once after a pause.
        burst: u32 = 60,
        /// Commands that only read (list, hist, sync, open), per user and second in the long run.
        queries_per_s: u32 = 50,
        /// ... and at once after a pause.
        query_burst: u32 = 200,
        /// Typing notices per user and second; more are dropped in silence.
        ephemeral_per_s: u32 = 2,
        /// Frames that ask for nothing (pings, pongs, small fragments, messages that are ignored), per connection and second in
        /// the long run; ten times as many at once.
        control_frames_per_s: u32 = 100,
        /// A client that asks for this many times its rate ...
        abuse_factor: u32 = 3,
        /// ... for this long is disconnected with 4208.
        abuse_ms: Millis = Millis(10_000),
        /// Sends without an answer after which no more is read from a connection.
        unacked_sends: usize = 16,
        /// Bytes of them after which no more is read.
        unacked_bytes: usize = 262_144,
        /// Frames that wait for a slow client; ephemeral ones are dropped at half of it, and when it is full the
        /// session is told to resync.
        outbox_frames: usize = 256,
        /// Bytes of them.
        outbox_bytes: usize = 262_144,
        /// Events that are kept per session until the client confirms them: a resume is served from these.
        ring_events: usize = 1_024,
        /// Bytes of them.
        ring_bytes: usize = 262_144,
        /// A client that needs a second resync within this time is disconnected with 4010.
        slow_again_ms: Millis = Millis(30_000),
        /// Frames written to a connection in one piece.
        coalesce_frames: usize = 64,
        /// Bytes written to a connection in one piece.
        coalesce_bytes: usize = 16_384,
        /// Longest token that is looked at.
        token_bytes: usize = 8_192,
        /// Live conversations per session, the most recent ones first; opening another one adds it.
        subscriptions: usize = 1_000,
        /// Sessions of one user on all nodes (4429).
        sessions_per_user: usize = 100,
        /// Groups and channels of which one user may make another a member within 24 hours; 0 is no bound. Nobody is
        /// asked before being added, so this is what keeps strangers from filling an inbox.
        added_by_one_per_day: u32 = 50,
        /// The same of all who add the user, together.
        added_per_day: u32 = 500,
        /// Users whom one session watches.
        watched_users: usize = 500,
        /// Rows of one page of list, hist and members at most.
        page: usize = 100,
        /// Conversations of one sync request at most.
        sync_page: usize = 200,
        /// Bytes of one answer to sync after which the rest is left to the next page.
        sync_bytes: usize = 1 << 20,
    }
}

// === impl Limits ===

impl Limits {
    /// How often others may make a user a member.
    #[must_use]
    pub fn added(&self) -> Bounds {
        Bounds {
            by_one: self.added_by_one_per_day,
            by_all: self.added_per_day,
        }
    }

    /// Reports every value that cannot work.
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
        // All that were made within a day are read when one more is.
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
