//! Subscriber: a session as seen by the hub of its worker.

use protocol::response::LastEvent;
use protocol::{ConversationId, HistoryVisibility, UserId};

use crate::state_machine::{EventEnvelope, PlacedEntry};

/// Receiver of events on one worker thread. Called by the hub's task, never from within a call to the hub. Every call
/// must return soon, for example after appending to a queue.
pub trait Subscriber {
    /// Tag of the session: unique, and not 0.
    fn id(&self) -> u64;

    fn user(&self) -> &UserId;

    /// The user is a member since this event, and members read back as far as `history` permits. Precedes the first
    /// event.
    fn admitted(&self, _conv: &ConversationId, _since: u64, _history: HistoryVisibility) {}

    /// An event of a subscribed conversation. Events with a `seq` are in order and complete. `seq` 0 is an event
    /// outside the log (a receipt), which may be lost. Events that exclude this session are included: they advance its
    /// position, and the session filters them itself.
    ///
    /// The event that removes this user from the conversation ends the subscription.
    fn event(&self, published: &EventEnvelope);

    /// The subscription continues behind `at`. Events up to there were trimmed, or held back without a proof of
    /// membership. The owner has proved the membership since.
    fn jumped(&self, conv: &ConversationId, at: u64);

    /// The subscription has ended, and the event that removed the user was trimmed from the log.
    fn ended(&self, conv: &ConversationId);

    /// The user is a member of a conversation to which the session is not subscribed: it has to subscribe and to send
    /// `conv`. May be repeated until the session is subscribed.
    fn joined(&self, conv: &ConversationId);

    /// A message was sent in a conversation of the user, subscribed or not.
    fn active(&self, conv: &ConversationId, last: LastEvent) {
        let _ = (conv, last);
    }

    /// Latest conversations of the user, shortly after notifications about them may have been lost.
    fn latest(&self, convs: &[PlacedEntry]) {
        for placed in convs {
            self.joined(&placed.conv);
        }
    }
}
