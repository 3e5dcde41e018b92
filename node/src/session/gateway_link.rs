//! State that a gateway keeps at the connection of its client and that is carried with the session, its selection of
//! conversations, and the events that it has confirmed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use protocol::ConversationId;

/// State and selection of a gateway. Native transports have neither.
#[derive(Default)]
pub(super) struct GatewayLink {
    /// Carried with the session.
    state: RefCell<Bytes>,
    /// Number of the changes that are written soon.
    revision: Cell<u64>,
    /// True if the state is that of a lost session.
    is_rebuilt: Cell<bool>,
    /// Unset, the client receives all conversations.
    selection: RefCell<Option<Rc<dyn ConversationSelection>>>,
    /// Number of the last event that the client has confirmed; `None` before the first confirmation.
    confirmed: Cell<Option<u64>>,
    /// Time of the first confirmation that the session has not read; `None`: it has read all.
    unread_since: Cell<Option<Instant>>,
}

/// Effect of a confirmation on the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfirmationEffect {
    /// The events were confirmed before, or the session has not read an earlier confirmation.
    None,
    /// It is the first one.
    First,
    /// It is the first one that the session has not read, and it came at this time.
    Unread(Instant),
}

/// The state exceeds [`GatewayLink::STATE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway state has {0} bytes, more than are carried with a session")]
pub struct GatewayStateTooLarge(pub usize);

/// Selection of the conversations whose events a client receives. Those of others get no number, and count neither as
/// sent nor as delivered.
pub trait ConversationSelection {
    fn includes(&self, conversation: &ConversationId) -> bool;
}

// === impl GatewayLink ===

impl GatewayLink {
    /// Maximum size of the state in bytes.
    pub(super) const STATE_BYTES: usize = 64 << 10;

    pub(super) fn set_state(&self, state: Bytes) -> Result<(), GatewayStateTooLarge> {
        self.set_progress(state)?;
        self.revision.set(self.revision.get() + 1);
        Ok(())
    }

    /// Sets a state that is not written soon.
    pub(super) fn set_progress(&self, state: Bytes) -> Result<(), GatewayStateTooLarge> {
        if state.len() > Self::STATE_BYTES {
            return Err(GatewayStateTooLarge(state.len()));
        }
        self.restore_state(state);
        Ok(())
    }

    /// Records that the client has applied the events up to `n`.
    pub(super) fn confirm(&self, n: u64) -> ConfirmationEffect {
        let before = self.confirmed.get();
        if before.is_some_and(|before| n <= before) {
            return ConfirmationEffect::None;
        }
        self.confirmed.set(Some(n));
        if self.unread_since.get().is_some() {
            return ConfirmationEffect::None;
        }
        let now = Instant::now();
        self.unread_since.set(Some(now));
        if before.is_none() {
            ConfirmationEffect::First
        } else {
            ConfirmationEffect::Unread(now)
        }
    }

    /// Returns the number up to which events are confirmed, and the time of the first confirmation since the last call;
    /// `None` without one.
    pub(super) fn take_confirmation(&self) -> Option<(u64, Instant)> {
        Some((self.confirmed.get()?, self.unread_since.take()?))
    }

    /// Number of the changes so far that are written soon.
    pub(super) fn revision(&self) -> u64 {
        self.revision.get()
    }

    /// Sets the state of another node's session, which was checked there.
    pub(super) fn restore_state(&self, state: Bytes) {
        self.state.replace(state);
    }

    /// Sets the state of a lost session, whose events have got other numbers.
    pub(super) fn rebuild_state(&self, state: Bytes) {
        self.is_rebuilt.set(true);
        self.restore_state(state);
    }

    pub(super) fn is_rebuilt(&self) -> bool {
        self.is_rebuilt.get()
    }

    pub(super) fn state(&self) -> Bytes {
        self.state.borrow().clone()
    }

    pub(super) fn select(&self, selection: Rc<dyn ConversationSelection>) {
        self.selection.replace(Some(selection));
    }

    pub(super) fn includes(&self, conversation: &ConversationId) -> bool {
        let selection = self.selection.borrow();
        selection
            .as_ref()
            .is_none_or(|selection| selection.includes(conversation))
    }
}
