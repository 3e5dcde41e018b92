//! Who listens: a session, seen from its worker's hub.

use protocol::answer::Last;
use protocol::{ConvId, History, UserId};

use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::Placed;

/// A listener on one worker thread. Called from the hub's task, never from within a call to the hub; it must return
/// soon (push to an outbox, mark it dirty).
pub trait Subscriber {
    /// The session's tag: unlike that of any other session, not 0.
    fn id(&self) -> u64;

    /// The session's user.
    fn user(&self) -> &UserId;

    /// The user is a member since that event, and so far back members read there. Comes before the first event.
    fn admitted(&self, _conv: &ConvId, _since: u64, _history: History) {}

    /// An event of a subscribed conversation. Those with a `seq` come in order and without a hole; `seq` 0 means an
    /// event that isn't in the log (a receipt), which may be lost. Also called for events whose `skip` is this
    /// session's tag: the session leaves those out itself, and knows the position.
    ///
    /// After an event that removes this user from the conversation, the subscription is over.
    fn event(&self, published: &Published);

    /// The subscription goes on behind `at`: events up to there are gone, or were not delivered because nobody could say
    /// whether the user is a member. The owner has said so since.
    fn jumped(&self, conv: &ConvId, at: u64);

    /// The subscription is over without the event that ended it: that was in what is gone.
    fn ended(&self, conv: &ConvId);

    /// The user is a member of a conversation that the session isn't subscribed to: subscribe, and push `conv`. May
    /// be called again until the session is subscribed.
    fn joined(&self, conv: &ConvId);

    /// Something was sent in a conversation of the user, whether or not the session is subscribed to it.
    fn active(&self, conv: &ConvId, last: Last) {
        let _ = (conv, last);
    }

    /// The latest conversations of the user, shortly after what the session was told of them may have been lost.
    fn latest(&self, convs: &[Placed]) {
        for placed in convs {
            self.joined(&placed.conv);
        }
    }
}
