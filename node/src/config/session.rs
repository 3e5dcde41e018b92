//! `[session]`: timers and bounds of sessions.

use super::load::Problems;
use super::section::section;
use super::units::HumanDuration;

section! {
    /// Timers and bounds of sessions.
    pub struct SessionConfig {
        /// Interval of WebSocket pings. A proxy in front must allow idle connections for longer.
        ping_interval: HumanDuration = HumanDuration::secs(25),
        /// Time without any frame of the client, pongs included, after which the session is closed (4014). Clients are
        /// asked to send hb at three quarters of it.
        idle_timeout: HumanDuration = HumanDuration::secs(40),
        /// Time for which a session can be resumed after its connection was lost.
        resume_timeout: HumanDuration = HumanDuration::secs(90),
        /// Maximum number of detached sessions on this node. Beyond that, the one detached longest is ended. Together
        /// they keep at most 6.5 KiB of events each.
        max_detached: usize = 10_000,
    }
}

// === impl SessionConfig ===

impl SessionConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least(
            "session.ping_interval",
            self.ping_interval,
            HumanDuration::secs(1),
        );
        // Otherwise a client that only answers pings would be closed.
        if self.idle_timeout <= self.ping_interval {
            problems.add(
                "session.idle_timeout",
                "must be greater than session.ping_interval",
            );
        }
    }
}
