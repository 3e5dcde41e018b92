//! State that a gateway keeps at the connection of its client and that is carried with the session, and its selection of
//! conversations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

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
