//! Presence of a session: its registration, its device and login, and the watches that it transfers on resume.

use protocol::{ClientMessageId, CloseCode, ErrorCode, UserId};

use crate::auth::TokenIdentity;
use crate::presence::{Device, EvictionReason, PresenceGuard, SessionRefused};
use crate::shard_client::CommandError;

/// Presence of one session.
#[derive(Default)]
pub(super) struct SessionPresence {
    /// `None` while the client is offline and has no device.
    guard: Option<PresenceGuard>,
    /// True while the guard registers the session as waiting for its device.
    is_waiting: bool,
    /// `None`: the client named no device.
    device: Option<Device>,
    /// `None` for a token without a login.
    login: Option<ClientMessageId>,
    /// Users that the client watched, saved while it is detached.
    watching: Vec<UserId>,
}

/// Consequence of an eviction from presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvictionEffect {
    /// The long poll ends; the session continues.
    EndPoll,
    /// The connection ends silently; the session stays resumable.
    Detach,
    /// The session ends, without a connection to close.
    Terminate,
    Close(CloseCode),
}

// === impl SessionPresence ===

impl SessionPresence {
    /// Sets the device and the login of a session that opens.
    pub(super) fn open(&mut self, device: Option<Device>, login: Option<ClientMessageId>) {
        self.device = device;
        self.login = login;
    }

    /// Stores the guard of the session's registration.
    pub(super) fn enter(&mut self, guard: PresenceGuard) {
        self.guard = Some(guard);
        self.is_waiting = false;
    }

    /// Takes the session offline. With a device it stays registered as waiting.
    pub(super) fn leave(&mut self) {
        if self.is_waiting {
            return;
        }
        self.is_waiting = self.guard.as_mut().is_some_and(PresenceGuard::wait);
        if !self.is_waiting {
            self.guard = None;
        }
    }

    /// Removes a session that has ended from the presence registry.
    pub(super) fn end(&mut self) {
        self.guard = None;
        self.is_waiting = false;
    }

    pub(super) fn is_online(&self) -> bool {
        self.guard.is_some() && !self.is_waiting
    }

    /// Returns true if the registry decides which session of the device is connected.
    pub(super) fn is_bound_to_device(&self) -> bool {
        self.device.is_some() && self.is_online()
    }

    /// Returns the login and the device of the session, for another registration.
    pub(super) fn identity(&self) -> (Option<ClientMessageId>, Option<Device>) {
        (self.login.clone(), self.device.clone())
    }

    /// Returns true if a renewed token may be used by the device of the session.
    pub(super) fn may_use(&self, identity: &TokenIdentity) -> bool {
        let device = self.device.as_ref().map(|device| device.name.as_str());
        identity
            .device
            .as_deref()
            .is_none_or(|bound| device == Some(bound))
    }

    /// Records the login of a renewed token.
    pub(super) fn renew(&mut self, login: Option<ClientMessageId>) {
        if let Some(guard) = &self.guard {
            guard.renew(login.clone());
        }
        self.login = login;
    }

    /// Saves the watches of a session that is being detached.
    pub(super) fn save_watches(&mut self, users: Vec<UserId>) {
        self.watching = users;
    }

    /// Returns the watched users. A detached session has left presence, so its saved list applies; `current` returns
    /// those of an attached one.
    pub(super) fn watches(&self, current: impl FnOnce() -> Vec<UserId>) -> Vec<UserId> {
        if self.watching.is_empty() {
            current()
        } else {
            self.watching.clone()
        }
    }
}

// === impl EvictionEffect ===

impl EvictionEffect {
    /// Returns the consequence of an eviction. A polling client has no connection that could be closed.
    pub(super) fn of(reason: EvictionReason, is_polled: bool) -> EvictionEffect {
        match reason {
            // The client itself has connected elsewhere.
            EvictionReason::Replaced if is_polled => EvictionEffect::EndPoll,
            EvictionReason::Replaced => EvictionEffect::Detach,
            _ if is_polled => EvictionEffect::Terminate,
            EvictionReason::Displaced => EvictionEffect::Close(CloseCode::Displaced),
            EvictionReason::TooMany => EvictionEffect::Close(CloseCode::TooManySessions),
            EvictionReason::Ended => EvictionEffect::Close(CloseCode::Banned),
        }
    }
}

/// Returns the response to a session that is not admitted, and the close code of its connection.
pub(super) fn refusal(refused: SessionRefused) -> (CommandError, CloseCode) {
    let (msg, close) = match refused {
        SessionRefused::Conflict => (
            "instances of this device replace each other too often",
            CloseCode::Displaced,
        ),
        SessionRefused::TooMany => ("this user has too many sessions", CloseCode::TooManySessions),
    };
    (CommandError::new(ErrorCode::Conflict, msg), close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_poll_is_never_closed_by_a_code() {
        use EvictionReason::{Displaced, Ended, Replaced, TooMany};
        let of = |reason| EvictionEffect::of(reason, true);
        assert_eq!(of(Replaced), EvictionEffect::EndPoll);
        assert_eq!(
            [Displaced, TooMany, Ended].map(of),
            [EvictionEffect::Terminate; 3]
        );
    }

    #[test]
    fn evicted_connection_is_closed_by_its_reason() {
        use EvictionReason::{Displaced, Ended, Replaced, TooMany};
        let of = |reason| EvictionEffect::of(reason, false);
        assert_eq!(of(Replaced), EvictionEffect::Detach);
        assert_eq!(of(Displaced), EvictionEffect::Close(CloseCode::Displaced));
        assert_eq!(of(TooMany), EvictionEffect::Close(CloseCode::TooManySessions));
        assert_eq!(of(Ended), EvictionEffect::Close(CloseCode::Banned));
    }

    #[test]
    fn refused_sessions_are_closed_by_their_reason() {
        let (conflict, code) = refusal(SessionRefused::Conflict);
        assert_eq!((conflict.code, code), (ErrorCode::Conflict, CloseCode::Displaced));
        assert_eq!(refusal(SessionRefused::TooMany).1, CloseCode::TooManySessions);
    }

    #[test]
    fn saved_watches_replace_the_current_ones() {
        let mut presence = SessionPresence::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        assert_eq!(presence.watches(|| vec![bob.clone()]), [bob]);
        presence.save_watches(vec![eve.clone()]);
        assert_eq!(presence.watches(Vec::new), [eve]);
    }

    #[test]
    fn session_without_a_registration_is_not_bound_to_its_device() {
        let mut presence = SessionPresence::default();
        let device = Device {
            name: "phone".to_owned(),
            instance: String::new(),
        };
        presence.open(Some(device.clone()), None);
        assert!(!presence.is_online() && !presence.is_bound_to_device());
        let login = ClientMessageId::parse("l1").unwrap();
        presence.renew(Some(login.clone()));
        assert_eq!(presence.identity(), (Some(login), Some(device)));
    }
}
