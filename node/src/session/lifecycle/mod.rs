//! Lifecycle of a session: its state, its deadlines, resume and transfer, and its end.

mod close_plan;
mod subscription_barrier;
mod timers;

use std::time::{Duration, Instant, SystemTime};

use protocol::CloseCode;
use protocol::response::NotResumed;

use crate::rpc::SessionId;

pub(super) use close_plan::ClosePlan;
pub(super) use subscription_barrier::{BarrierGuard, SubscriptionBarrier};
pub use timers::left;
pub(super) use timers::{ConnectionStatus, DetachedAction, DetachedStatus, TimerAction};

/// Lifecycle of one session. Pure: time is an argument.
pub(super) struct Lifecycle {
    state: SessionState,
    opened: Instant,
    /// Time of the last keepalive.
    pinged: Instant,
    pending_close: Option<PendingClose>,
    /// Time of the detachment; `None` while attached.
    detached: Option<Instant>,
    /// Reason for resume attempts after the session is closed.
    end_reason: NotResumed,
}

/// Progress of the session's authentication.
enum SessionState {
    /// No valid token yet.
    Unauthenticated,
    /// Authenticated; the snapshot of the resumed session is being fetched.
    Resuming,
    Open(OpenSession),
}

/// State of an open session.
struct OpenSession {
    sid: SessionId,
    /// Expiry of the token by the cluster's clock; `None`: it does not expire.
    expires: Option<SystemTime>,
    /// Session that this one resumed; `None` once the client has used this one's id.
    resumed_from: Option<SessionId>,
    /// Session that resumed this one last, if one did.
    exported_to: Option<SessionId>,
}

/// Close that waits for pending responses, at most until its deadline.
#[derive(Clone, Copy)]
struct PendingClose {
    code: CloseCode,
    deadline: Instant,
}

/// RPCs that follow an export.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExportEffects {
    /// Copy that was exported earlier and never used.
    pub(super) cancel: Option<SessionId>,
    /// Session that this one resumed, and that can end.
    pub(super) confirm: Option<SessionId>,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Creates the lifecycle of a client that is not authenticated.
    pub(super) fn new(now: Instant) -> Lifecycle {
        Lifecycle {
            state: SessionState::Unauthenticated,
            opened: now,
            pinged: now,
            pending_close: None,
            detached: None,
            end_reason: NotResumed::Unknown,
        }
    }

    /// Returns true once the client has presented a valid token and was admitted.
    pub(super) fn is_authenticated(&self) -> bool {
        !matches!(self.state, SessionState::Unauthenticated)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_session().is_some()
    }

    /// Returns the id of an open session.
    pub(super) fn sid(&self) -> Option<SessionId> {
        self.open_session().map(|open| open.sid)
    }

    /// Returns the expiry of the client's token; `None` if it does not expire.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.open_session()?.expires
    }

    /// Starts the fetch of the resumed session's snapshot.
    pub(super) fn begin_resume(&mut self) {
        self.state = SessionState::Resuming;
    }

    /// Opens the session under this id, with the expiry of its token.
    pub(super) fn open(
        &mut self,
        sid: SessionId,
        expires: Option<SystemTime>,
        resumed_from: Option<SessionId>,
    ) {
        self.state = SessionState::Open(OpenSession {
            sid,
            expires,
            resumed_from,
            exported_to: None,
        });
    }

    /// Records the expiry of a renewed token.
    pub(super) fn renew(&mut self, expires: Option<SystemTime>) {
        if let SessionState::Open(open) = &mut self.state {
            open.expires = expires;
        }
    }

    // --- resume and transfer ---

    /// Returns the session that this one resumed, for its confirmation, and this one's id. Returns them once.
    pub(super) fn confirm_resume(&mut self) -> Option<(SessionId, SessionId)> {
        let SessionState::Open(open) = &mut self.state else {
            return None;
        };
        Some((open.resumed_from.take()?, open.sid))
    }

    /// Records an export to the session `by`.
    pub(super) fn export_to(&mut self, by: SessionId) -> ExportEffects {
        let SessionState::Open(open) = &mut self.state else {
            return ExportEffects {
                cancel: None,
                confirm: None,
            };
        };
        ExportEffects {
            // An earlier copy was never used: its client came back with this session's id.
            cancel: open.exported_to.replace(by),
            // The client presented this session's id, so the session that it resumed can end.
            confirm: open.resumed_from.take(),
        }
    }

    /// Returns true if another session has a copy of this one.
    pub(super) fn is_exported(&self) -> bool {
        self.open_session().is_some_and(|open| open.exported_to.is_some())
    }

    /// Returns true if `by` is the session to which this one was exported last. A discarded copy must not end it.
    pub(super) fn is_successor(&self, by: SessionId) -> bool {
        self.open_session()
            .is_some_and(|open| open.exported_to == Some(by))
    }

    // --- connection ---

    /// Marks the session as detached.
    pub(super) fn detach(&mut self, now: Instant) {
        self.detached = Some(now);
    }

    /// Marks the session as attached. Returns true if it was detached.
    pub(super) fn attach(&mut self) -> bool {
        self.detached.take().is_some()
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached.is_some()
    }

    /// Restarts the resume timeout of a detached session.
    pub(super) fn restart_resume_timeout(&mut self, now: Instant) {
        self.detached = self.detached.map(|_| now);
    }

    /// Closes the session once the pending responses are sent, or after `patience`. Returns false if that is pending
    /// already, because the first close decides.
    pub(super) fn begin_close(&mut self, code: CloseCode, now: Instant, patience: Duration) -> bool {
        let begins = self.pending_close.is_none();
        if begins {
            let deadline = now + patience;
            self.pending_close = Some(PendingClose { code, deadline });
        }
        begins
    }

    pub(super) fn is_closing(&self) -> bool {
        self.pending_close.is_some()
    }

    /// Cancels a pending close: the connection is closed already.
    pub(super) fn cancel_close(&mut self) {
        self.pending_close = None;
    }

    /// Sets the reason for resume attempts after the session is closed.
    pub(super) fn end_with(&mut self, reason: NotResumed) {
        self.end_reason = reason;
    }

    /// Returns the id, the reason and the successor that the registry records of a closed session.
    pub(super) fn end_record(&self) -> Option<(SessionId, NotResumed, Option<SessionId>)> {
        let open = self.open_session()?;
        Some((open.sid, self.end_reason, open.exported_to))
    }

    fn open_session(&self) -> Option<&OpenSession> {
        match &self.state {
            SessionState::Open(open) => Some(open),
            SessionState::Unauthenticated | SessionState::Resuming => None,
        }
    }
}

#[cfg(test)]
mod tests;
