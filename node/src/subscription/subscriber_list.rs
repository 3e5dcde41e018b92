//! Subscribers of one conversation on one worker thread.
//!
//! An event is delivered in slices, between which other tasks of the thread may subscribe or unsubscribe. A slot that
//! becomes free during a delivery stays empty until its end, so that the others do not move.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use protocol::HistoryVisibility;

use super::reorder_buffer::ReorderBuffer;
use super::subscriber::Subscriber;
use crate::state_machine::EventEnvelope;

/// Number of subscribers from which on they are found by an index; below, by a scan.
const INDEXED: usize = 64;

/// Subscribers and reorder buffer of a conversation.
pub(super) struct SubscriberList {
    pub(super) order: ReorderBuffer<Arc<EventEnvelope>>,
    slots: Vec<Option<SubscriberSlot>>,
    taken: usize,
    /// Slot of each session; `None` while a scan is fast enough.
    index: Option<HashMap<u64, usize>>,
    /// Subscriptions without a proof of membership: ticket and session.
    pub(super) pending: Vec<(u64, u64)>,
    /// History visibility and the seq that set it; `None` until the stream contains such an event.
    pub(super) history: Option<(u64, HistoryVisibility)>,
    busy: bool,
}

/// A subscriber and its position.
struct SubscriberSlot {
    who: Rc<dyn Subscriber>,
    /// Only events above this seq are delivered.
    from: u64,
}

// === impl SubscriberList ===

impl SubscriberList {
    pub(super) fn new() -> SubscriberList {
        SubscriberList {
            order: ReorderBuffer::new(None),
            slots: Vec::new(),
            taken: 0,
            index: None,
            pending: Vec::new(),
            history: None,
            busy: false,
        }
    }

    /// Returns true if there is neither a subscriber nor a pending subscription.
    pub(super) fn unused(&self) -> bool {
        self.taken == 0 && self.pending.is_empty()
    }

    /// Adds a subscriber for the events above `from`. An existing one keeps its position, which is returned.
    pub(super) fn add(&mut self, who: Rc<dyn Subscriber>, from: u64) -> u64 {
        let id = who.id();
        if let Some(known) = self.index_of(id).and_then(|at| self.slots[at].as_ref()) {
            return known.from.max(self.order.last().unwrap_or(0));
        }
        self.taken += 1;
        self.slots.push(Some(SubscriberSlot { who, from }));
        match &mut self.index {
            Some(index) => {
                index.insert(id, self.slots.len() - 1);
            }
            None if self.slots.len() >= INDEXED => self.index(),
            None => {}
        }
        from
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(at) = self.index_of(id) else { return };
        self.taken -= 1;
        if let Some(index) = &mut self.index {
            index.remove(&id);
        }
        if self.busy {
            // Stays as an empty slot: a delivery is iterating over the positions.
            self.slots[at] = None;
            return;
        }
        self.slots.swap_remove(at);
        // `swap_remove` has moved the last subscriber into this slot.
        if let (Some(index), Some(Some(moved))) = (&mut self.index, self.slots.get(at)) {
            index.insert(moved.who.id(), at);
        }
    }

    /// Returns true if the session is subscribed, or its subscription is pending.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.index_of(id).is_some() || self.pending.iter().any(|(_, session)| *session == id)
    }

    /// Returns the position of a subscribed session; `None` before the first one is known.
    pub(super) fn position(&self, id: u64) -> Option<u64> {
        let slot = self.slots[self.index_of(id)?].as_ref()?;
        Some(slot.from.max(self.order.last()?))
    }

    /// Removes the subscribers that have no proof for `to` and later events. Each is returned with the position up to
    /// which it has everything.
    pub(super) fn take_unproved(&mut self, to: u64) -> Vec<(Rc<dyn Subscriber>, u64)> {
        let last = self.order.last().unwrap_or(0);
        let unproved = self
            .slots
            .iter()
            .flatten()
            .filter(|slot| slot.from.saturating_add(1) < to);
        let taken: Vec<_> = unproved
            .map(|slot| (slot.who.clone(), slot.from.max(last)))
            .collect();
        for (who, _) in &taken {
            self.remove(who.id());
        }
        taken
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&id).copied(),
            None => self
                .slots
                .iter()
                .position(|slot| slot.as_ref().is_some_and(|slot| slot.who.id() == id)),
        }
    }

    fn index(&mut self) {
        let slots = self.slots.iter().enumerate();
        self.index = Some(
            slots
                .filter_map(|(at, slot)| Some((slot.as_ref()?.who.id(), at)))
                .collect(),
        );
    }

    /// Starts the delivery of an event. Returns the number of slots to visit.
    pub(super) fn begin(&mut self) -> usize {
        self.busy = true;
        self.slots.len()
    }

    /// Collects the subscribers in slots `at..end` that receive event `seq`; with 0, all of them.
    pub(super) fn slice(&self, at: usize, end: usize, seq: u64, into: &mut Vec<Rc<dyn Subscriber>>) {
        let slots = self.slots.get(at..end.min(self.slots.len())).unwrap_or_default();
        let wanting = slots.iter().flatten().filter(|slot| seq == 0 || slot.from < seq);
        into.extend(wanting.map(|slot| slot.who.clone()));
    }

    /// Ends the delivery of an event and removes the free slots.
    pub(super) fn end(&mut self) {
        self.busy = false;
        if self.slots.len() > self.taken {
            self.slots.retain(Option::is_some);
            if self.index.is_some() {
                self.index();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::{ConversationId, UserId};

    use super::*;

    struct QuietSubscriber(u64, UserId);

    impl Subscriber for QuietSubscriber {
        fn id(&self) -> u64 {
            self.0
        }
        fn user(&self) -> &UserId {
            &self.1
        }
        fn event(&self, _: &EventEnvelope) {}
        fn jumped(&self, _: &ConversationId, _: u64) {}
        fn ended(&self, _: &ConversationId) {}
        fn joined(&self, _: &ConversationId) {}
    }

    fn quiet(id: u64) -> Rc<dyn Subscriber> {
        Rc::new(QuietSubscriber(id, UserId::parse(&format!("u{id}")).unwrap()))
    }

    fn wanting(slots: &mut SubscriberList, seq: u64) -> Vec<u64> {
        let mut out = Vec::new();
        let end = slots.begin();
        slots.slice(0, end, seq, &mut out);
        slots.end();
        out.into_iter().map(|who| who.id()).collect()
    }

    #[test]
    fn a_subscriber_gets_events_above_its_position() {
        let mut slots = SubscriberList::new();
        slots.add(quiet(1), 5);
        slots.add(quiet(2), 6);
        assert_eq!(wanting(&mut slots, 6), [1]);
        assert_eq!(wanting(&mut slots, 7), [1, 2]);
        assert_eq!(
            wanting(&mut slots, 0),
            [1, 2],
            "an event outside the log is for all"
        );
    }

    #[test]
    fn slots_do_not_move_while_an_event_is_delivered() {
        let mut slots = SubscriberList::new();
        for id in 1..=3 {
            slots.add(quiet(id), 0);
        }
        let end = slots.begin();
        slots.remove(1);
        slots.add(quiet(4), 9);
        let mut rest = Vec::new();
        slots.slice(1, end, 9, &mut rest);
        assert_eq!(rest.iter().map(|who| who.id()).collect::<Vec<_>>(), [2, 3]);
        slots.end();
        assert_eq!(wanting(&mut slots, 10), [2, 3, 4]);
    }

    #[test]
    fn many_subscribers_are_found_by_their_index() {
        let mut slots = SubscriberList::new();
        for id in 0..200 {
            slots.add(quiet(id), 0);
        }
        slots.order.start(0, |_: Arc<EventEnvelope>| ());
        let event = EventEnvelope {
            conv: ConversationId::parse("g").unwrap(),
            seq: 1,
            tail: Bytes::new(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        };
        slots.order.offer(1, Arc::new(event), |_| ());
        assert_eq!(
            slots.add(quiet(7), 5),
            1,
            "one that is there gets its present position"
        );
        slots.begin();
        for id in 0..50 {
            slots.remove(id);
        }
        slots.end();
        for id in 100..200 {
            slots.remove(id);
        }
        for id in 0..200 {
            assert_eq!(slots.knows(id), (50..100).contains(&id), "{id}");
        }
        assert_eq!(wanting(&mut slots, 2).len(), 50);
    }
}
