//! Close plan: decides by the close code how a connection is closed. Pure.

use std::time::Duration;

use protocol::CloseCode;

/// Steps of closing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct ClosePlan {
    /// Delay before the client reconnects; `None`: it does not reconnect by itself.
    pub(in crate::session) retry: Option<Duration>,
    /// True if a close event precedes the close frame.
    pub(in crate::session) has_event: bool,
    /// True if queued output is dropped.
    pub(in crate::session) drop_queued: bool,
    /// True if the session stays resumable.
    pub(in crate::session) is_resumable: bool,
}

// === impl ClosePlan ===

impl ClosePlan {
    /// Returns the plan for a close code. `jitter`: random delay before a reconnect.
    pub(in crate::session) fn of(code: CloseCode, is_open: bool, jitter: Duration) -> ClosePlan {
        let retry = match code {
            CloseCode::Draining | CloseCode::Isolated | CloseCode::Overloaded => Some(jitter),
            CloseCode::SlowConsumer | CloseCode::HeartbeatMissed | CloseCode::Internal => {
                Some(Duration::from_secs(1))
            }
            CloseCode::RateAbuse => Some(Duration::from_secs(30)),
            CloseCode::TokenExpired | CloseCode::NoAuth => Some(Duration::ZERO),
            _ => None,
        };
        let is_planned = matches!(
            code,
            CloseCode::Draining | CloseCode::Isolated | CloseCode::Overloaded | CloseCode::TokenExpired
        );
        ClosePlan {
            retry,
            // Events are numbered from `ready` on. Before that, the close code and its reason suffice.
            has_event: is_planned && is_open,
            // A client that does not read would delay the close frame for nothing.
            drop_queued: matches!(code, CloseCode::SlowConsumer | CloseCode::HeartbeatMissed),
            // After a code below 4200 the client returns to the same session.
            is_resumable: (4000..4200).contains(&code.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JITTER: Duration = Duration::from_millis(7);

    #[test]
    fn planned_close_is_announced_to_an_open_session_only() {
        let plan = ClosePlan::of(CloseCode::Draining, true, JITTER);
        assert!(plan.has_event && plan.is_resumable && !plan.drop_queued);
        assert_eq!(plan.retry, Some(JITTER), "clients return at different times");
        assert!(!ClosePlan::of(CloseCode::Draining, false, JITTER).has_event);
    }

    #[test]
    fn slow_consumer_loses_its_queue_and_may_resume() {
        let plan = ClosePlan::of(CloseCode::SlowConsumer, true, JITTER);
        assert!(plan.drop_queued && plan.is_resumable && !plan.has_event);
        assert_eq!(plan.retry, Some(Duration::from_secs(1)));
    }

    #[test]
    fn banned_user_cannot_resume() {
        let plan = ClosePlan::of(CloseCode::Banned, true, JITTER);
        assert!(!plan.is_resumable && !plan.has_event);
        assert_eq!(plan.retry, None);
    }
}
