//! Window of the events that a client has not acknowledged (receive maximum). Pure.
//!
//! The packet id of an event follows from its number, which a resumed session keeps. So a repeated event has the id that
//! it had before, and no table of ids travels with the session.

use std::collections::VecDeque;

/// Maximum number of unacknowledged events.
const MOST: u16 = 64;
/// Numbers over which unacknowledged events may extend: less than all packet ids, so that none occurs twice.
const MOST_NUMBERS: u64 = 60_000;

/// Events of one connection on their way to the client, and those that it has received.
///
/// An event of the lowest quality has no acknowledgement. It counts as received with a later event that the client
/// acknowledges, since a connection keeps the order; or with the next but one ping: a client that sends another ping has
/// received the answer to the one before.
#[derive(Debug)]
pub(super) struct EventWindow {
    most: usize,
    /// Numbers of the unacknowledged events, in ascending order.
    unacked: VecDeque<u64>,
    /// Number of the last event that was written.
    written: u64,
    /// Number of the last event that the client is known to have received.
    received: u64,
    /// Number of the last event before the answer to the last ping; `None` before the first one.
    pinged: Option<u64>,
    /// Number up to which events were confirmed to the session; `None`: nothing yet.
    confirmed: Option<u64>,
}

// === impl EventWindow ===

impl EventWindow {
    /// Creates the window of a connection behind event `n`. `receive_maximum`: that of the client.
    pub(super) fn new(receive_maximum: u16, n: u64) -> EventWindow {
        EventWindow {
            most: usize::from(receive_maximum.min(MOST)),
            unacked: VecDeque::new(),
            written: n,
            received: n,
            pinged: None,
            confirmed: None,
        }
    }

    /// Returns the packet id of the event with number `n`.
    pub(super) fn packet_id(n: u64) -> u16 {
        let id = n.saturating_sub(1) % u64::from(u16::MAX) + 1;
        u16::try_from(id).unwrap_or(u16::MAX)
    }

    /// Returns true if another event may be written.
    pub(super) fn has_room(&self) -> bool {
        let spans = |first: &u64| self.written - first >= MOST_NUMBERS;
        self.unacked.len() < self.most && !self.unacked.front().is_some_and(spans)
    }

    /// Records an event that was written, or passed over. `is_acknowledged`: the client acknowledges it.
    pub(super) fn on_written(&mut self, n: u64, is_acknowledged: bool) {
        self.written = n;
        if is_acknowledged {
            self.unacked.push_back(n);
        }
    }

    /// Records an acknowledgement. Returns false if no such event is unacknowledged.
    pub(super) fn on_ack(&mut self, packet_id: u16) -> bool {
        let known = self
            .unacked
            .iter()
            .position(|n| EventWindow::packet_id(*n) == packet_id);
        let Some(n) = known.and_then(|at| self.unacked.remove(at)) else {
            return false;
        };
        self.received = self.received.max(n);
        true
    }

    /// Records a ping, which is answered behind the events written so far.
    pub(super) fn on_ping(&mut self) {
        let before = self.pinged.replace(self.written);
        self.received = self.received.max(before.unwrap_or(0));
    }

    /// Number of the last event that was written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number up to which all events are received, if it was not returned before.
    pub(super) fn take_confirmation(&mut self) -> Option<u64> {
        let unacked = self.unacked.front().map(|first| first - 1);
        let n = unacked.map_or(self.received, |last| last.min(self.received));
        if self.confirmed.is_some_and(|confirmed| confirmed >= n) {
            return None;
        }
        self.confirmed = Some(n);
        Some(n)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn window_of_the_client_bounds_the_events() {
        let mut window = EventWindow::new(2, 10);
        window.on_written(11, true);
        assert!(window.has_room());
        window.on_written(12, false);
        window.on_written(13, true);
        assert!(!window.has_room());
        assert!(window.on_ack(13) && !window.on_ack(13) && !window.on_ack(12));
        assert!(window.has_room());
        let mut large = EventWindow::new(u16::MAX, 0);
        (1..=64).for_each(|n| large.on_written(n, true));
        assert!(!large.has_room(), "64 at most");
    }

    #[test]
    fn confirmation_stops_at_the_first_unacknowledged_event() {
        let mut window = EventWindow::new(10, 10);
        assert_eq!(
            window.take_confirmation(),
            Some(10),
            "the session was resumed here"
        );
        assert_eq!(window.take_confirmation(), None);
        for (n, acknowledged) in [(11, true), (12, false), (13, true), (14, false)] {
            window.on_written(n, acknowledged);
        }
        assert!(window.on_ack(13));
        assert_eq!(window.take_confirmation(), None, "11 is missing");
        assert!(window.on_ack(11));
        assert_eq!(window.take_confirmation(), Some(13), "12 came before 13");
    }

    #[test]
    fn second_ping_confirms_events_of_the_lowest_quality() {
        let mut window = EventWindow::new(10, 0);
        window.take_confirmation();
        window.on_written(1, false);
        window.on_ping();
        window.on_written(2, false);
        assert_eq!(window.take_confirmation(), None);
        window.on_ping();
        assert_eq!(window.take_confirmation(), Some(1));
        window.on_written(3, true);
        window.on_ping();
        window.on_ping();
        assert_eq!(
            window.take_confirmation(),
            Some(2),
            "3 has an acknowledgement of its own"
        );
    }

    #[test]
    fn packet_ids_wrap_around_without_zero() {
        for (n, id) in [(1, 1), (65_535, 65_535), (65_536, 1), (131_071, 1)] {
            assert_eq!(EventWindow::packet_id(n), id);
        }
        let mut window = EventWindow::new(10, 0);
        window.on_written(1, true);
        window.on_written(60_001, false);
        assert!(!window.has_room(), "the id of event 1 would come again");
    }

    proptest! {
        /// No event is confirmed that is unacknowledged, whatever the order of acknowledgements.
        #[test]
        fn only_received_events_are_confirmed(events in prop::collection::vec(any::<bool>(), 1..40), acks in prop::collection::vec(0_u16..45, 0..60)) {
            let mut window = EventWindow::new(u16::MAX, 0);
            let mut unacked = BTreeSet::new();
            for (n, acknowledged) in (1..).zip(&events) {
                window.on_written(n, *acknowledged);
                if *acknowledged {
                    unacked.insert(n);
                }
            }
            for id in acks {
                prop_assert_eq!(window.on_ack(id), unacked.remove(&u64::from(id)));
                if let Some(n) = window.take_confirmation() {
                    prop_assert!(unacked.first().is_none_or(|first| *first > n));
                    prop_assert!(n <= events.len() as u64);
                }
            }
        }
    }
}
