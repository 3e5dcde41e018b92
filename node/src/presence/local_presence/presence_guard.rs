//! Guard for the entry of a session.

use protocol::ClientMessageId;

use super::LocalPresence;
use crate::presence::reporter::ReporterCommand;
use crate::rpc::presence::SessionInfo;

/// Guard for a session's entry in the presence registry; removes the entry on drop.
pub struct PresenceGuard {
    pub(super) presence: LocalPresence,
    pub(super) session: SessionInfo,
}

// === impl PresenceGuard ===

impl PresenceGuard {
    /// Updates the login after the client presented another token.
    pub fn renew(&self, login: Option<ClientMessageId>) {
        let tag = self.session.tag;
        if let Some(taken) = self.presence.inner.state.borrow_mut().sessions.get_mut(&tag) {
            taken.login = login;
        }
    }

    /// Marks the session as waiting for its device: it is not online any more, but its device finds it. Returns false
    /// for a session without a device, which the entry serves no longer.
    #[must_use]
    pub fn wait(&mut self) -> bool {
        if self.session.device.is_none() {
            return false;
        }
        // No verdict is awaited: the entry displaces nobody and is never refused.
        self.session.asks = false;
        self.session.waiting = true;
        self.presence.inner.order(ReporterCommand::Enter {
            worker: self.presence.inner.worker,
            session: self.session.clone(),
        });
        true
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        // The entry goes first: a verdict that arrives later finds no session and is ignored.
        let tag = self.session.tag;
        self.presence.inner.state.borrow_mut().sessions.remove(&tag);
        self.presence.inner.order(ReporterCommand::Leave {
            user: self.session.user.clone(),
            tag,
        });
    }
}
