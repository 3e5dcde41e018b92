//! Subscriber of the hub that records events.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use protocol::{ConversationId, Event, UserId};

use super::user;
use crate::state_machine::EventEnvelope;
use crate::subscription::Subscriber;

/// Subscriber that records what a session would receive.
pub struct RecordingSubscriber {
    id: u64,
    user: UserId,
    pub seen: RefCell<HashMap<ConversationId, Vec<(u64, String)>>>,
    pub joined: RefCell<Vec<ConversationId>>,
    /// Events that are not in the log.
    pub whispers: RefCell<Vec<String>>,
    /// Positions behind removed events.
    pub jumps: RefCell<Vec<(ConversationId, u64)>>,
    /// Conversations that ended without an event of their own.
    pub ended: RefCell<Vec<ConversationId>>,
}

// === impl RecordingSubscriber ===

impl RecordingSubscriber {
    /// Creates a subscriber with a session number of its own.
    pub fn new(by: &str) -> Rc<RecordingSubscriber> {
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(1) });
        let id = NEXT.with(|next| next.replace(next.get() + 1));
        Rc::new(RecordingSubscriber {
            id,
            user: user(by),
            seen: RefCell::default(),
            joined: RefCell::default(),
            whispers: RefCell::default(),
            jumps: RefCell::default(),
            ended: RefCell::default(),
        })
    }

    pub fn last(&self, conv: &ConversationId) -> u64 {
        self.seen
            .borrow()
            .get(conv)
            .and_then(|seen| seen.last())
            .map_or(0, |(seq, _)| *seq)
    }

    /// Returns the events, and checks that none is missing or repeated.
    pub fn contiguous(&self, conv: &ConversationId, as_of: u64) -> Vec<String> {
        let seen = self.seen.borrow();
        let events = seen.get(conv).cloned().unwrap_or_default();
        for ((seq, _), expected) in events.iter().zip(as_of + 1..) {
            assert_eq!(*seq, expected, "{} in {conv}", self.user);
        }
        events.into_iter().map(|(_, tail)| tail).collect()
    }
}

impl Subscriber for RecordingSubscriber {
    fn id(&self) -> u64 {
        self.id
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn event(&self, published: &EventEnvelope) {
        let tail = String::from_utf8(published.tail.to_vec()).unwrap();
        if published.seq == 0 {
            self.whispers.borrow_mut().push(tail);
        } else {
            self.seen
                .borrow_mut()
                .entry(published.conv.clone())
                .or_default()
                .push((published.seq, tail));
        }
    }

    fn jumped(&self, conv: &ConversationId, at: u64) {
        self.jumps.borrow_mut().push((conv.clone(), at));
    }

    fn ended(&self, conv: &ConversationId) {
        self.ended.borrow_mut().push(conv.clone());
    }

    fn joined(&self, conv: &ConversationId) {
        self.joined.borrow_mut().push(conv.clone());
    }
}

/// Returns the client message ids of the messages among the events, in order.
pub fn cids(events: &[String]) -> Vec<String> {
    let event = |tail: &String| Event::decode(&format!("{{{tail}"));
    let cid = |event| match event {
        Some(Event::Msg(msg)) => Some(msg.client_message_id.to_string()),
        _ => None,
    };
    events.iter().filter_map(|tail| cid(event(tail))).collect()
}
