//! `[session]`: timers and bounds of sessions.

use super::load::Problems;
use super::section::section;
use super::units::Millis;

section! {
    /// Timers and bounds of sessions.
    pub struct SessionConfig {
        /// Maximum time for a new connection to authenticate (4210).
        auth_ms: Millis = Millis(10_000),
        /// Interval at which clients shall send hb; announced in hello.
        hb_ms: Millis = Millis(30_000),
        /// Interval of WebSocket pings.
        ping_ms: Millis = Millis(25_000),
        /// Time without any frame of the client, pongs included, after which the session is closed (4014).
        idle_timeout_ms: Millis = Millis(40_000),
        /// Maximum time for a closing connection to send the rest of its data.
        close_ms: Millis = Millis(2_000),
        /// Resolution of these timers.
        tick_ms: Millis = Millis(100),
        /// Delivered cursors are collected per conversation for this long.
        delivered_ms: Millis = Millis(1_000),
        /// After a temporary refusal, the time for which later sends to the conversation wait for the refused one.
        refusal_ms: Millis = Millis(5_000),
        /// Time for which a session can be resumed after its connection was lost.
        resume_ttl_ms: Millis = Millis(90_000),
        /// Maximum number of detached sessions on this node. Beyond that, the one detached longest is ended.
        away: usize = 10_000,
        /// Maximum bytes of events kept for detached sessions, with the same effect.
        away_bytes: usize = 64 << 20,
        /// Timeout for the transfer of a session from another node. After that, the client gets a new session.
        fetch_ms: Millis = Millis(2_000),
        /// Maximum time that a stopping node waits for other nodes to fetch its sessions.
        handover_ms: Millis = Millis(5_000),
        /// Interval of keepalive comments on an event stream without events.
        comment_ms: Millis = Millis(15_000),
        /// Maximum time that a poll waits for an event.
        poll_ms: Millis = Millis(60_000),
        /// Maximum random delay before clients reconnect after a drain.
        reconnect_spread_ms: Millis = Millis(2_000),
    }
}

// === impl SessionConfig ===

impl SessionConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("session.auth_ms", self.auth_ms.0, 10);
        problems.at_least("session.ping_ms", self.ping_ms.0, 10);
        problems.at_least("session.tick_ms", self.tick_ms.0, 5);
        problems.at_least("session.fetch_ms", self.fetch_ms.0, 10);
        problems.at_least("session.comment_ms", self.comment_ms.0, 10);
        // Otherwise a client that only answers pings would be closed.
        if self.idle_timeout_ms <= self.ping_ms {
            problems.add("session.idle_timeout_ms", "must be greater than session.ping_ms");
        }
        for (key, value) in [
            ("session.auth_ms", self.auth_ms),
            ("session.ping_ms", self.ping_ms),
        ] {
            // Timers are checked once per tick, so a smaller value has no effect.
            if value < self.tick_ms {
                problems.add(key, "must not be smaller than session.tick_ms");
            }
        }
    }
}
