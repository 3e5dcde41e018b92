//! Messages that this session sent with `echo:false`, which it must not receive.

use protocol::{ClientMessageId, ConversationId};

use super::{EventSubscriber, State};
use crate::state_machine::EventEnvelope;

// === impl EventSubscriber: echo ===

impl EventSubscriber {
    /// Delivers an event that follows an introducing `conv`.
    pub(in crate::session) fn follower(&self, published: &EventEnvelope) {
        if !self.is_unwanted(published) {
            self.push(published.tail.clone(), Some((&published.conv, published.seq)));
        }
    }

    /// Registers a message sent with `echo:false`, which this session must not receive.
    pub(in crate::session) fn hush(&self, conv: &ConversationId, cid: &ClientMessageId) {
        self.quiet.borrow_mut().sent(conv, cid);
    }

    /// Records the seq of such a message. `comes`: the conversation is about to be introduced, with the message.
    pub(in crate::session) fn hushed(
        &self,
        conv: &ConversationId,
        cid: &ClientMessageId,
        s: u64,
        comes: bool,
    ) {
        let mut quiet = self.quiet.borrow_mut();
        match self.convs.borrow().get(conv).map(|followed| &followed.state) {
            Some(State::Live(at)) => quiet.placed(conv, cid, s, *at),
            Some(State::Opening { .. }) => quiet.placed(conv, cid, s, 0),
            None if comes => quiet.placed(conv, cid, s, 0),
            // Not followed: the event never arrives.
            None => quiet.refused(conv, cid),
        }
    }

    /// Removes a permanently refused message from the filter.
    pub(in crate::session) fn unhush(&self, conv: &ConversationId, cid: &ClientMessageId) {
        self.quiet.borrow_mut().refused(conv, cid);
    }

    /// Returns the filtered messages, for the session that resumes this one.
    pub(in crate::session) fn hushed_messages(&self) -> Vec<(ConversationId, ClientMessageId)> {
        self.quiet.borrow().all()
    }

    /// Returns true for a message of this session sent with `echo:false`, whether live or read from the log.
    pub(super) fn is_unwanted(&self, published: &EventEnvelope) -> bool {
        let mut quiet = self.quiet.borrow_mut();
        // A live event names the excluded session. One read from the log does not, and the tag changes on resume.
        if published.skip == self.tag {
            quiet.passed(&published.conv, published.seq);
            return true;
        }
        published.seq > 0 && quiet.takes(published, &self.user)
    }
}
