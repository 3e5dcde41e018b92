//! Guard for the entry of a connected session.

use protocol::{ClientMessageId, UserId};

use super::LocalPresence;
use crate::presence::reporter::ReporterCommand;

/// Guard for a session's entry in the presence registry; removes the entry on drop.
pub struct PresenceGuard {
    pub(super) presence: LocalPresence,
    pub(super) user: UserId,
    pub(super) id: u64,
}

// === impl PresenceGuard ===

impl PresenceGuard {
    /// Updates the login after the client presented another token.
    pub fn renew(&self, login: Option<ClientMessageId>) {
        if let Some(taken) = self.presence.inner.state.borrow_mut().sessions.get_mut(&self.id) {
            taken.login = login;
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        // The entry goes first: a verdict that arrives later finds no session and is ignored.
        self.presence.inner.state.borrow_mut().sessions.remove(&self.id);
        self.presence.inner.order(ReporterCommand::Leave {
            user: self.user.clone(),
            tag: self.id,
        });
    }
}
