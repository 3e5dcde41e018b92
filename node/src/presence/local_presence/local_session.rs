//! Session on this worker: its pending verdict and its loss signal.

use protocol::{ClientMessageId, UserId};
use tokio::sync::oneshot;

use crate::rpc::SessionId;
use crate::rpc::presence::SessionAdmission;

/// Device of a session, with the instance of its app: at most one session per device is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// Random per start of the app; empty if the client names none.
    pub instance: String,
}

/// Identity of a session across connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMark {
    pub sid: SessionId,
    /// Mark of the session that it resumes; `None` for a new one.
    pub goes_on: Option<u64>,
}

/// Reason for which a session is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefused {
    /// Instances of the device displace each other too often.
    Conflict,
    /// The user has too many sessions.
    TooMany,
}

/// Reason for which a session, or its connection, must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionReason {
    /// The same instance of the device has another connection, so this one ends silently. The session itself may
    /// continue there.
    Replaced,
    /// Another instance of the device has connected.
    Displaced,
    /// The user has too many sessions; the verdict arrived after the session began.
    TooMany,
    /// The login of the session has ended.
    Ended,
}

/// Local session with its pending verdict and its loss signal.
pub(super) struct LocalSession {
    pub(super) user: UserId,
    /// Login of the client's token; `None` for a token of another issuer.
    pub(super) login: Option<ClientMessageId>,
    pub(super) admitted: Option<oneshot::Sender<Result<(), SessionRefused>>>,
    pub(super) lost: Option<oneshot::Sender<EvictionReason>>,
}

// === impl LocalSession ===

impl LocalSession {
    /// Passes on the verdict of the owner.
    pub(super) fn on_admission(&mut self, admission: SessionAdmission) {
        let (verdict, late) = match admission {
            SessionAdmission::Conflict => (Err(SessionRefused::Conflict), Some(EvictionReason::Displaced)),
            SessionAdmission::TooMany => (Err(SessionRefused::TooMany), Some(EvictionReason::TooMany)),
            SessionAdmission::Admitted | SessionAdmission::Displaced(_) => (Ok(()), None),
        };
        let delivered = self
            .admitted
            .take()
            .is_some_and(|admitted| admitted.send(verdict).is_ok());
        // The session no longer waits for the verdict, so a late refusal must end it.
        if let Some(loss) = late.filter(|_| !delivered) {
            self.lose(loss);
        }
    }

    /// Returns true if the session belongs to this login of the user; `None` means any login.
    pub(super) fn uses(&self, user: &UserId, login: Option<&ClientMessageId>) -> bool {
        let same = |known: &ClientMessageId| login.is_none_or(|login| login == known);
        self.user == *user && self.login.as_ref().is_some_and(same)
    }

    pub(super) fn lose(&mut self, loss: EvictionReason) {
        if let Some(lost) = self.lost.take() {
            // The receiver is dropped if the session is ending already.
            let _gone = lost.send(loss);
        }
    }
}
