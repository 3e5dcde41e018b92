//! Deadlines of a session: decides on its end, on keepalives and on the time of the next check. Pure.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::ClusterClock;
use protocol::CloseCode;
use protocol::answer::NotResumed;

use super::{Lifecycle, PendingClose, SessionState};
use crate::config::Config;
use crate::session::connection_handle::CONFIRM_AFTER;

/// State of the connection that the timers depend on.
pub(in crate::session) struct ConnectionStatus {
    /// Time since the last received bytes.
    pub(in crate::session) idle: Duration,
    /// Interval between two keepalive pings.
    pub(in crate::session) ping_interval: Duration,
    /// Remaining lifetime of the token; `None`: it does not expire.
    pub(in crate::session) token_left: Option<Duration>,
    pub(in crate::session) is_too_slow: bool,
    /// True if no command is unanswered.
    pub(in crate::session) is_idle: bool,
    /// Time since the last event that the client was not asked to confirm; `None` without one.
    pub(in crate::session) unconfirmed: Option<Duration>,
}

/// Result of a check of an attached session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum TimerAction {
    Close(CloseCode),
    /// The session continues until the next check at `deadline`.
    Continue {
        ping: bool,
        deadline: Instant,
    },
}

/// Result of a check of a detached session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum DetachedAction {
    End(NotResumed),
    /// The session continues until the next check at `deadline`.
    Continue {
        leave_presence: bool,
        deadline: Instant,
    },
}

// === impl Lifecycle: timers ===

impl Lifecycle {
    /// Checks the deadlines of an attached session.
    pub(in crate::session) fn check_attached(
        &mut self,
        now: Instant,
        config: &Config,
        status: &ConnectionStatus,
    ) -> TimerAction {
        let idle_timeout = config.session.idle_timeout.0;
        if status.idle >= idle_timeout {
            return TimerAction::Close(CloseCode::HeartbeatMissed);
        }
        let mut deadline = now + (idle_timeout - status.idle);
        match self.state {
            SessionState::Unauthenticated => {
                let end = self.opened + config.tuning.auth_timeout.0;
                if now >= end {
                    return TimerAction::Close(CloseCode::NoAuth);
                }
                deadline = deadline.min(end);
            }
            SessionState::Resuming => {}
            SessionState::Open(_) => {
                if status.is_too_slow {
                    return TimerAction::Close(CloseCode::SlowConsumer);
                }
                if let Some(left) = status.token_left {
                    if left.is_zero() {
                        return TimerAction::Close(CloseCode::TokenExpired);
                    }
                    deadline = deadline.min(now + left);
                }
            }
        }
        if let Some(PendingClose { code, deadline: end }) = self.pending_close {
            if status.is_idle || now >= end {
                return TimerAction::Close(code);
            }
            deadline = deadline.min(end);
        }
        let confirm_in = status.unconfirmed.map(|age| CONFIRM_AFTER.saturating_sub(age));
        let ping = now >= self.pinged + status.ping_interval || confirm_in == Some(Duration::ZERO);
        if ping {
            self.pinged = now;
        } else if let Some(wait) = confirm_in {
            deadline = deadline.min(now + wait);
        }
        let deadline = deadline.min(self.pinged + status.ping_interval);
        TimerAction::Continue { ping, deadline }
    }

    /// Checks the deadlines of a detached session; `None` if it is attached. `is_lost`: an event that the client has not
    /// received was evicted. `is_online`: the client polls and is registered in presence.
    pub(in crate::session) fn check_detached(
        &self,
        now: Instant,
        config: &Config,
        is_lost: bool,
        is_online: bool,
    ) -> Option<DetachedAction> {
        let since = self.detached?;
        let end = since + config.session.resume_timeout.0;
        // Before everything else: with an event lost, a resume would replay a hole.
        if is_lost {
            return Some(DetachedAction::End(NotResumed::Gap));
        }
        if now >= end {
            return Some(DetachedAction::End(NotResumed::Expired));
        }
        // A long-polling client stays online between two polls, for at most the idle timeout.
        let offline_at = since + config.session.idle_timeout.0;
        let leave_presence = is_online && now >= offline_at;
        let deadline = if is_online && !leave_presence {
            end.min(offline_at)
        } else {
            end
        };
        Some(DetachedAction::Continue {
            leave_presence,
            deadline,
        })
    }
}

/// Remaining lifetime of a token that expires at `at`. Computed at every check, not once as an `Instant`: the monotonic
/// clock may stop while a machine is suspended and would extend the token.
pub fn left(at: SystemTime, clock: &ClusterClock) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(clock.now_ms());
    at.duration_since(now).unwrap_or_default()
}
