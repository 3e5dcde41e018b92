//! Deadlines of a session: decides on its end, on keepalives and on the time of the next check. Pure.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::ClusterClock;
use protocol::CloseCode;
use protocol::response::NotResumed;

use super::{Lifecycle, PendingClose, SessionState};
use crate::session::connection_handle::CONFIRM_AFTER;

/// Interval between the checks of a session without a deadline.
const RECHECK: Duration = Duration::from_secs(60);

/// State of the connection that the timers depend on.
pub(in crate::session) struct ConnectionStatus {
    /// Time since the last received bytes.
    pub(in crate::session) idle: Duration,
    /// Time of silence after which the connection is closed; `None`: silence never closes it.
    pub(in crate::session) idle_timeout: Option<Duration>,
    /// Interval between two keepalive pings; `None`: there are none.
    pub(in crate::session) ping_interval: Option<Duration>,
    /// Remaining lifetime of the token; `None`: it does not expire.
    pub(in crate::session) token_left: Option<Duration>,
    pub(in crate::session) is_too_slow: bool,
    /// True if no command is unanswered.
    pub(in crate::session) is_idle: bool,
    /// Time since the last event that the client was not asked to confirm; `None` without one.
    pub(in crate::session) unconfirmed: Option<Duration>,
}

/// State of a detached session that its timers depend on.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct DetachedStatus {
    /// Time for which the session can be resumed.
    pub(in crate::session) resume_timeout: Duration,
    /// Time after which a user without a connection is offline.
    pub(in crate::session) offline_after: Duration,
    /// True if an event that the client has not received was evicted.
    pub(in crate::session) is_lost: bool,
    /// True if the user is registered in presence.
    pub(in crate::session) is_online: bool,
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
        auth_timeout: Duration,
        status: &ConnectionStatus,
    ) -> TimerAction {
        let mut deadline = now + RECHECK;
        if let Some(idle_timeout) = status.idle_timeout {
            if status.idle >= idle_timeout {
                return TimerAction::Close(CloseCode::HeartbeatMissed);
            }
            deadline = now + (idle_timeout - status.idle);
        }
        match self.state {
            SessionState::Unauthenticated => {
                let end = self.opened + auth_timeout;
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
        let next_ping = status.ping_interval.map(|interval| self.pinged + interval);
        let ping = next_ping.is_some_and(|at| now >= at) || confirm_in == Some(Duration::ZERO);
        if ping {
            self.pinged = now;
        } else if let Some(wait) = confirm_in {
            deadline = deadline.min(now + wait);
        }
        if let Some(interval) = status.ping_interval {
            deadline = deadline.min(self.pinged + interval);
        }
        TimerAction::Continue { ping, deadline }
    }

    /// Checks the deadlines of a detached session; `None` if it is attached.
    pub(in crate::session) fn check_detached(
        &self,
        now: Instant,
        status: DetachedStatus,
    ) -> Option<DetachedAction> {
        let since = self.detached?;
        let end = since + status.resume_timeout;
        // Before everything else: with an event lost, a resume would replay a hole.
        if status.is_lost {
            return Some(DetachedAction::End(NotResumed::Gap));
        }
        if now >= end {
            return Some(DetachedAction::End(NotResumed::Expired));
        }
        // A long-polling client stays online between two polls, for at most the idle timeout.
        let offline_at = since + status.offline_after;
        let leave_presence = status.is_online && now >= offline_at;
        let deadline = if status.is_online && !leave_presence {
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
