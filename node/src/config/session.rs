//! `[session]`: timers and bounds of sessions.

use super::load::Problems;
use super::section::section;
use super::units::HumanDuration;

section! {
    /// Timers and bounds of sessions.
    pub struct SessionConfig {
        /// Time without any frame of the client, pongs included, after which the session is closed (4014). The server pings
        /// at five eighths of it, for which a proxy in front must allow connections to be idle. Clients are asked to send
        /// hb at three quarters of it.
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
        // Pings at shorter intervals cost more than they show.
        problems.at_least("session.idle_timeout", self.idle_timeout, HumanDuration::secs(2));
    }
}
