//! Catch-up of a subscriber: events that are read from the log while its subscription starts.

use protocol::ConversationId;

use super::{EventSubscriber, Followed, INTRODUCTION, State};
use crate::session::delivery::BufferedEvent;
use crate::state_machine::EventEnvelope;

// === impl EventSubscriber: catch up ===

impl EventSubscriber {
    /// Delivers an event read from the log, of a conversation whose subscription is starting. Returns `false` if it is
    /// no longer followed, possibly because of this event.
    pub(in crate::session) fn carry(&self, published: &EventEnvelope) -> bool {
        let over = published.removes.as_ref() == Some(&self.user);
        {
            let mut convs = self.convs.borrow_mut();
            let Some(Followed {
                state: State::Opening { from, .. },
                ..
            }) = convs.get_mut(&published.conv)
            else {
                return false;
            };
            // Also for an event that is not shown: a later resume has to continue behind it.
            *from = Some(published.seq);
            if over {
                convs.remove(&published.conv);
            }
        }
        if !self.is_unwanted(published) {
            self.replay(BufferedEvent {
                tail: published.tail.clone(),
                covers: Some((published.conv.clone(), published.seq)),
            });
        }
        if over {
            self.tracker.borrow_mut().forget(&published.conv);
        }
        !over
    }

    /// Ends the catch-up of a conversation at `upto` and delivers the buffered events. Returns `false` if some of those
    /// were lost and have to be read too.
    pub(in crate::session) fn carried(&self, conv: &ConversationId, upto: u64) -> bool {
        if let Some(Followed {
            state: State::Opening { held, lost, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
            && std::mem::take(lost)
        {
            // Log events are read again together with the lost ones; events outside the log cannot be.
            held.retain(|held| held.published.seq == 0);
            return false;
        }
        self.go_live(conv, upto);
        true
    }

    /// Appends an event that the client missed.
    pub(in crate::session) fn replay(&self, event: BufferedEvent) {
        let covers = event.covers.clone();
        let introduces = event.tail.starts_with(INTRODUCTION);
        let n = self.link.outbox(|outbox| outbox.replay(event));
        if let Some((conv, s)) = covers {
            self.tracker.borrow_mut().sent(n, &conv, s);
            self.track_position(&conv, if introduces { 0 } else { s });
        }
        self.account();
    }

    /// Ends the catch-up across a gap: sends `resync`, then delivers the events above `at`.
    pub(in crate::session) fn carry_over(&self, conv: &ConversationId, at: u64) {
        if self.follows(conv) {
            // First the `resync`: an event from behind the gap would otherwise look like a hole.
            self.resync("gone");
            self.go_live(conv, at);
        }
    }

    /// Returns the client's position in each followed conversation, and the conversations that are yet to be
    /// introduced.
    pub(in crate::session) fn positions(&self) -> (Vec<(ConversationId, u64)>, Vec<ConversationId>) {
        let mut positions = Vec::new();
        let mut coming: Vec<ConversationId> = self.joined.borrow().iter().cloned().collect();
        for (conv, followed) in &*self.convs.borrow() {
            match &followed.state {
                State::Live(at) | State::Opening { from: Some(at), .. } => {
                    positions.push((conv.clone(), *at))
                }
                State::Opening { from: None, .. } => coming.push(conv.clone()),
            }
        }
        (positions, coming)
    }

    /// Delivers events of conversations that were subscribed to only after the client's `sync` was answered. The events
    /// in between are in neither, so `resync` precedes the first one: without it there would be a hole.
    pub(in crate::session) fn go_live_late(&self, convs: &[(ConversationId, u64)]) {
        if !convs.is_empty() {
            self.resync("late");
        }
        for (conv, as_of) in convs {
            self.go_live(conv, *as_of);
        }
    }
}
