//! Response `ready`, which opens a session. Pure.

use protocol::UserId;
use protocol::response::{NotResumed, ReadyResponse, SessionLimits};

use super::limits::TYPING_PER_SECOND;
use crate::config::Config;
use crate::rpc::SessionId;

/// Result of the client's request to resume a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumeResult {
    /// The events behind the requested one follow.
    Resumed,
    /// A new session; `None`: the client requested no other one.
    New(Option<NotResumed>),
}

/// Returns the `ready` of a session whose last event has number `n`.
pub(super) fn ready(
    config: &Config,
    sid: SessionId,
    user: &UserId,
    result: ResumeResult,
    n: u64,
) -> ReadyResponse {
    let limits = &config.limits;
    let (resumed, why) = match result {
        ResumeResult::Resumed => (true, None),
        ResumeResult::New(why) => (false, why),
    };
    ReadyResponse {
        user: user.clone(),
        session_id: sid.to_string(),
        resumed,
        session_seq: n,
        reason: why,
        resume_ttl_ms: config.session.resume_timeout.as_millis(),
        limits: SessionLimits {
            body_bytes: limits.max_body_size.0,
            sends_per_second: limits.sends_per_second,
            burst: config.sends_burst(),
            ephemeral_per_second: TYPING_PER_SECOND,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready_after(result: ResumeResult) -> ReadyResponse {
        let sid = SessionId { node: 1, secret: 2 };
        ready(&Config::default(), sid, &"bob".parse().unwrap(), result, 7)
    }

    #[test]
    fn failed_resume_gives_its_reason() {
        let ready = ready_after(ResumeResult::New(Some(NotResumed::Gap)));
        assert_eq!((ready.resumed, ready.reason), (false, Some(NotResumed::Gap)));
        assert!(ready_after(ResumeResult::New(None)).reason.is_none());
    }

    #[test]
    fn resumed_session_continues_at_its_number() {
        let ready = ready_after(ResumeResult::Resumed);
        assert_eq!((ready.resumed, ready.session_seq, ready.reason), (true, 7, None));
    }
}
