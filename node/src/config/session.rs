//! `[session]`: the timers of a session.

use super::load::Problems;
use super::section::section;
use super::units::Millis;

section! {
    /// Timers of a session.
    pub struct Session {
        /// How long a new connection may take to authenticate (4210).
        auth_ms: Millis = Millis(10_000),
        /// How often clients are asked to send hb; told to them in hello.
        hb_ms: Millis = Millis(30_000),
        /// How often a WebSocket ping is sent.
        ping_ms: Millis = Millis(25_000),
        /// Silence of the client, pongs included, after which the session is closed (4014).
        idle_timeout_ms: Millis = Millis(40_000),
        /// How long a closing connection may take to send what is left before it is cut.
        close_ms: Millis = Millis(2_000),
        /// Resolution of all these timers.
        tick_ms: Millis = Millis(100),
        /// Delivered cursors are collected for this long per conversation.
        delivered_ms: Millis = Millis(1_000),
        /// After a temporary refusal, how long later sends to the conversation wait for the refused one.
        refusal_ms: Millis = Millis(5_000),
        /// How long a session can be resumed after its connection is gone.
        resume_ttl_ms: Millis = Millis(90_000),
        /// Sessions of a node that wait for their client to come back; beyond, the one that has waited longest is given up.
        away: usize = 10_000,
        /// Bytes of the events that are kept for them; beyond, the same.
        away_bytes: usize = 64 << 20,
        /// How long another node may take to hand over a session before the client is told to start anew.
        fetch_ms: Millis = Millis(2_000),
        /// How long a node that is stopped waits for other nodes to fetch its sessions.
        handover_ms: Millis = Millis(5_000),
        /// How often something is written to an event stream that has no events.
        comment_ms: Millis = Millis(15_000),
        /// Longest wait of a poll for an event.
        poll_ms: Millis = Millis(60_000),
        /// At a drain, clients are told to come back after a random time up to this.
        reconnect_spread_ms: Millis = Millis(2_000),
    }
}

// === impl Session ===

impl Session {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("session.auth_ms", self.auth_ms.0, 10);
        problems.at_least("session.ping_ms", self.ping_ms.0, 10);
        problems.at_least("session.tick_ms", self.tick_ms.0, 5);
        problems.at_least("session.fetch_ms", self.fetch_ms.0, 10);
        problems.at_least("session.comment_ms", self.comment_ms.0, 10);
        if self.idle_timeout_ms <= self.ping_ms {
            problems.add("session.idle_timeout_ms", "must be greater than session.ping_ms");
        }
        for (key, value) in [
            ("session.auth_ms", self.auth_ms),
            ("session.ping_ms", self.ping_ms),
        ] {
            if value < self.tick_ms {
                problems.add(key, "must not be smaller than session.tick_ms");
            }
        }
    }
}
