//! The subscribers of one conversation on one worker thread.
//!
//! An event is handed out in slices, between which other tasks of the thread run and may subscribe or unsubscribe. So
//! a place that becomes free while an event is being handed out stays empty until it is done: positions don't move.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use protocol::History;

use super::order::Order;
use super::subscriber::Subscriber;
use crate::conversation::timeline::Published;

/// From this many subscribers on, they are found by an index; below, by looking at each.
const INDEXED: usize = 64;

/// One conversation on this worker.
pub(super) struct Slots {
    pub(super) order: Order<Arc<Published>>,
    places: Vec<Option<Slot>>,
    taken: usize,
    /// Where each session's place is, once there are many.
    index: Option<HashMap<u64, usize>>,
    /// Subscriptions whose membership isn't proved yet: the ticket and the session.
    pub(super) pending: Vec<(u64, u64)>,
    /// How far back members read, where the stream has said so: at which place it did.
    pub(super) history: Option<(u64, History)>,
    busy: bool,
}

/// A subscriber and its position.
struct Slot {
    who: Rc<dyn Subscriber>,
    /// Events above this one are for it.
    from: u64,
}

// === impl Slots ===

impl Slots {
    pub(super) fn new() -> Slots {
        Slots {
            order: Order::new(None),
            places: Vec::new(),
            taken: 0,
            index: None,
            pending: Vec::new(),
            history: None,
            busy: false,
        }
    }

    /// Whether nobody listens or wants to.
    pub(super) fn unused(&self) -> bool {
        self.taken == 0 && self.pending.is_empty()
    }

    /// Adds a subscriber for the events above `from`; one that is there keeps its position, which is returned.
    pub(super) fn add(&mut self, who: Rc<dyn Subscriber>, from: u64) -> u64 {
        let id = who.id();
        if let Some(known) = self.place(id).and_then(|at| self.places[at].as_ref()) {
            return known.from.max(self.order.last().unwrap_or(0));
        }
        self.taken += 1;
        self.places.push(Some(Slot { who, from }));
        match &mut self.index {
            Some(index) => {
                index.insert(id, self.places.len() - 1);
            }
            None if self.places.len() >= INDEXED => self.index(),
            None => {}
        }
        from
    }

    /// Removes a subscriber.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(at) = self.place(id) else { return };
        self.taken -= 1;
        if let Some(index) = &mut self.index {
            index.remove(&id);
        }
        if self.busy {
            self.places[at] = None;
            return;
        }
        self.places.swap_remove(at);
        if let (Some(index), Some(Some(moved))) = (&mut self.index, self.places.get(at)) {
            index.insert(moved.who.id(), at);
        }
    }

    /// Whether a session listens, or wants to.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.place(id).is_some() || self.pending.iter().any(|(_, session)| *session == id)
    }

    /// Where a session that listens is.
    pub(super) fn position(&self, id: u64) -> Option<u64> {
        let slot = self.places[self.place(id)?].as_ref()?;
        Some(slot.from.max(self.order.last()?))
    }

    /// Takes out those who have no proof for what is at `to` and above, each with the place up to which it has
    /// everything.
    pub(super) fn take_unproved(&mut self, to: u64) -> Vec<(Rc<dyn Subscriber>, u64)> {
        let last = self.order.last().unwrap_or(0);
        let unproved = self
            .places
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

    fn place(&self, id: u64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&id).copied(),
            None => self
                .places
                .iter()
                .position(|slot| slot.as_ref().is_some_and(|slot| slot.who.id() == id)),
        }
    }

    fn index(&mut self) {
        let places = self.places.iter().enumerate();
        self.index = Some(
            places
                .filter_map(|(at, slot)| Some((slot.as_ref()?.who.id(), at)))
                .collect(),
        );
    }

    /// Begins to hand an event out; the number of places to visit.
    pub(super) fn begin(&mut self) -> usize {
        self.busy = true;
        self.places.len()
    }

    /// The subscribers among the places from `at` to `end` who want event `seq` (0: everybody).
    pub(super) fn slice(&self, at: usize, end: usize, seq: u64, into: &mut Vec<Rc<dyn Subscriber>>) {
        let places = self
            .places
            .get(at..end.min(self.places.len()))
            .unwrap_or_default();
        let wanting = places.iter().flatten().filter(|slot| seq == 0 || slot.from < seq);
        into.extend(wanting.map(|slot| slot.who.clone()));
    }

    /// The event is handed out: free places go.
    pub(super) fn end(&mut self) {
        self.busy = false;
        if self.places.len() > self.taken {
            self.places.retain(Option::is_some);
            if self.index.is_some() {
                self.index();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::{ConvId, UserId};

    use super::*;

    struct Quiet(u64, UserId);

    impl Subscriber for Quiet {
        fn id(&self) -> u64 {
            self.0
        }
        fn user(&self) -> &UserId {
            &self.1
        }
        fn event(&self, _: &Published) {}
        fn jumped(&self, _: &ConvId, _: u64) {}
        fn ended(&self, _: &ConvId) {}
        fn joined(&self, _: &ConvId) {}
    }

    fn quiet(id: u64) -> Rc<dyn Subscriber> {
        Rc::new(Quiet(id, UserId::parse(&format!("u{id}")).unwrap()))
    }

    fn wanting(slots: &mut Slots, seq: u64) -> Vec<u64> {
        let mut out = Vec::new();
        let end = slots.begin();
        slots.slice(0, end, seq, &mut out);
        slots.end();
        out.into_iter().map(|who| who.id()).collect()
    }

    #[test]
    fn a_subscriber_gets_events_above_its_position() {
        let mut slots = Slots::new();
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
    fn places_do_not_move_while_an_event_is_handed_out() {
        let mut slots = Slots::new();
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
        let mut slots = Slots::new();
        for id in 0..200 {
            slots.add(quiet(id), 0);
        }
        slots.order.start(0, |_: Arc<Published>| ());
        let event = Published {
            conv: ConvId::parse("g").unwrap(),
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
