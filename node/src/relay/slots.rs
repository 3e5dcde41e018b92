//! The subscribers of one conversation on one worker thread.
//!
//! An event is handed out in slices, between which other tasks of the thread run and may subscribe or unsubscribe. So
//! a place that becomes free while an event is being handed out stays empty until it is done: positions don't move.

use std::rc::Rc;
use std::sync::Arc;

use super::order::Order;
use super::subscriber::Subscriber;
use crate::conversation::timeline::Published;

/// One conversation on this worker.
pub(super) struct Slots {
    pub(super) order: Order<Arc<Published>>,
    places: Vec<Option<Slot>>,
    taken: usize,
    /// Subscriptions whose membership isn't proved yet.
    pub(super) pending: usize,
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
            pending: 0,
            busy: false,
        }
    }

    /// Whether nobody listens or wants to.
    pub(super) fn unused(&self) -> bool {
        self.taken == 0 && self.pending == 0
    }

    /// Adds a subscriber for the events above `from`; one that is there keeps its position, which is returned.
    pub(super) fn add(&mut self, who: Rc<dyn Subscriber>, from: u64) -> u64 {
        if let Some(known) = self
            .places
            .iter()
            .flatten()
            .find(|slot| slot.who.id() == who.id())
        {
            return known.from.max(self.order.last().unwrap_or(0));
        }
        self.taken += 1;
        self.places.push(Some(Slot { who, from }));
        from
    }

    /// Removes a subscriber.
    pub(super) fn remove(&mut self, id: u64) {
        let at = self
            .places
            .iter()
            .position(|slot| slot.as_ref().is_some_and(|slot| slot.who.id() == id));
        let Some(at) = at else { return };
        self.taken -= 1;
        if self.busy {
            self.places[at] = None;
        } else {
            self.places.swap_remove(at);
        }
    }

    /// Whether a session of this id listens.
    pub(super) fn holds(&self, id: u64) -> bool {
        self.places.iter().flatten().any(|slot| slot.who.id() == id)
    }

    /// Whether a session of the same user listens: the user is a member then.
    pub(super) fn proves(&self, who: &dyn Subscriber) -> bool {
        self.places
            .iter()
            .flatten()
            .any(|slot| slot.who.user() == who.user())
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
        }
    }
}
