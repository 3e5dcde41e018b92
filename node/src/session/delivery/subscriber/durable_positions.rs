//! Confirmed positions of a subscriber, for the durable cursors of its device.

use protocol::ConversationId;

use super::EventSubscriber;
use crate::session::delivery::unconfirmed_positions::UnconfirmedPositions;

// === impl EventSubscriber: durable positions ===

impl EventSubscriber {
    /// Begins to track the positions that the client confirms.
    pub(in crate::session) fn track_positions(&self) {
        self.unconfirmed.replace(Some(UnconfirmedPositions::default()));
    }

    /// Records that the event pushed last covers positions from `first` on; 0 if it announces the conversation.
    pub(in crate::session) fn track_position(&self, conv: &ConversationId, first: u64) {
        if let Some(unconfirmed) = &mut *self.unconfirmed.borrow_mut() {
            unconfirmed.add(self.link.outbox(|outbox| outbox.last_n()), conv, first);
        }
    }

    /// Confirms the events up to number `n`.
    pub(in crate::session) fn confirm_positions(&self, n: u64) {
        if let Some(unconfirmed) = &mut *self.unconfirmed.borrow_mut() {
            unconfirmed.confirm(n);
        }
    }

    /// Returns the position of each conversation up to which the client has confirmed everything.
    pub(in crate::session) fn confirmed_positions(&self) -> Vec<(ConversationId, u64)> {
        let (reached, _) = self.positions();
        let unconfirmed = self.unconfirmed.borrow();
        unconfirmed
            .as_ref()
            .map_or_else(Vec::new, |unconfirmed| unconfirmed.confirmed(reached))
    }
}
