//! Calls of the subscription hub and of presence. Each returns soon: it appends to a queue or marks work for the actor.
//!
//! Path of a message: step 12 of 13.

use std::time::Instant;

use bytes::Bytes;
use protocol::response::LastEvent;
use protocol::{ConversationId, HistoryVisibility, UserId};

use super::{EventSubscriber, HELD, Held, LATEST, State};
use crate::presence::PresenceSink;
use crate::session::delivery::outbound_queue::PushResult;
use crate::state_machine::{EventEnvelope, PlacedEntry};
use crate::subscription::Subscriber;

impl PresenceSink for EventSubscriber {
    fn show(&self, tail: Bytes) -> bool {
        self.link.outbox(|outbox| outbox.ephemeral(tail, false)) != PushResult::Dropped
    }
}

impl Subscriber for EventSubscriber {
    fn id(&self) -> u64 {
        self.tag
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn admitted(&self, conv: &ConversationId, since: u64, history: HistoryVisibility) {
        self.joined_conversations
            .borrow_mut()
            .admitted(conv, since, history);
    }

    fn event(&self, published: &EventEnvelope) {
        if published.only.as_ref().is_some_and(|only| *only != self.user) || self.is_own_typing(published) {
            return;
        }
        let visible = self.joined_conversations.borrow_mut().visible(published);
        let visible = visible.map(|tail| EventEnvelope {
            tail,
            ..published.clone()
        });
        let published = visible.as_ref().unwrap_or(published);
        let mut convs = self.convs.borrow_mut();
        let Some(followed) = convs.get_mut(&published.conv) else {
            return;
        };
        if published.seq > 0 {
            followed.rank = self.tick();
        }
        match &mut followed.state {
            State::Opening { held, lost, .. } => {
                let over = published.removes.as_ref() == Some(&self.user);
                let room = if published.seq == 0 { HELD / 2 } else { HELD };
                // The removal of this user is buffered in any case: it decides which membership the view belongs to.
                if held.len() < room || over {
                    let (at, published) = (Instant::now(), published.clone());
                    held.push(Held { at, published });
                } else if published.seq > 0 {
                    // Only for log events, which have to be read again; others may be lost.
                    *lost = true;
                }
                return;
            }
            State::Live(last) if published.seq == 0 || published.seq > *last => {
                *last = published.seq.max(*last);
            }
            // Duplicate: the view or the catch-up contained this event.
            State::Live(_) => return,
        }
        let over = published.removes.as_ref() == Some(&self.user);
        if over {
            convs.remove(&published.conv);
            self.joined_conversations.borrow_mut().forget(&published.conv);
        }
        drop(convs);
        self.pass(published);
        if over {
            self.tracker.borrow_mut().forget(&published.conv);
        }
    }

    fn jumped(&self, conv: &ConversationId, at: u64) {
        match self
            .convs
            .borrow_mut()
            .get_mut(conv)
            .map(|followed| &mut followed.state)
        {
            None => return,
            // `resync` follows when the subscription is live, or the events are read again.
            Some(State::Opening { lost, .. }) => {
                *lost = true;
                return;
            }
            Some(State::Live(last)) => *last = at.max(*last),
        }
        self.quiet.borrow_mut().passed(conv, at);
        self.resync("gone");
    }

    fn ended(&self, conv: &ConversationId) {
        if self.follows(conv) {
            self.end(conv);
            // The removal event was trimmed from the log. The next `sync` omits the conversation.
            self.resync("gone");
        }
    }

    fn joined(&self, conv: &ConversationId) {
        if self.reached.borrow().contains_key(conv) {
            // The client has this conversation; its subscription was evicted to make room.
            return;
        }
        self.joined.borrow_mut().insert(conv.clone());
        self.link.request_check();
    }

    fn active(&self, conv: &ConversationId, last: LastEvent) {
        if let Some(followed) = self.convs.borrow_mut().get_mut(conv) {
            // Protects the conversation from eviction until this message has been delivered.
            followed.announced = followed.announced.max(last.seq);
        } else if self.reached.borrow().get(conv).is_none_or(|at| *at < last.seq) {
            self.active.borrow_mut().insert(conv.clone(), last);
            self.link.request_check();
        }
    }

    fn latest(&self, convs: &[PlacedEntry]) {
        for placed in convs.iter().filter(|placed| self.is_late(placed.ms)) {
            if self.follows(&placed.conv) {
            } else if self.is_late(placed.since_ms) && !self.reached.borrow().contains_key(&placed.conv) {
                // The joining itself was not announced: introduce the conversation instead of reporting activity.
                self.joined(&placed.conv);
            } else {
                self.active(&placed.conv, placed.last);
            }
        }
        // A full page that ends within the window: older entries may be news too.
        if let Some(last) = convs
            .last()
            .filter(|last| convs.len() >= LATEST && self.is_late(last.ms))
        {
            *self.unread.borrow_mut() = Some((last.ms, last.conv.clone()));
            self.link.request_check();
        }
    }
}
