//! Delivery tracker: maps event numbers, which the client confirms, to one delivered cursor per conversation. Pure.

use std::collections::{HashMap, VecDeque};

use protocol::ConversationId;

/// Maximum number of tracked unconfirmed events; of older ones only the last per conversation is kept.
const UNCONFIRMED: usize = 1_024;

/// Delivered cursors of one session.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    /// Events sent and not confirmed, by ascending number.
    sent: VecDeque<TrackedPosition>,
    /// Events evicted from `sent`: number and seq of the last one per conversation, which implies the earlier ones.
    older: HashMap<ConversationId, (u64, u64)>,
    /// Confirmed cursors that are not reported yet.
    confirmed: HashMap<ConversationId, u64>,
    reported: HashMap<ConversationId, u64>,
}

#[derive(Debug)]
struct TrackedPosition {
    n: u64,
    conv: ConversationId,
    s: u64,
}

// === impl DeliveryTracker ===

impl DeliveryTracker {
    /// Records a sent event.
    pub(super) fn sent(&mut self, n: u64, conv: &ConversationId, s: u64) {
        if self.sent.len() >= UNCONFIRMED
            && let Some(TrackedPosition { n, conv, s }) = self.sent.pop_front()
        {
            self.older.insert(conv, (n, s));
        }
        self.sent.push_back(TrackedPosition {
            n,
            conv: conv.clone(),
            s,
        });
    }

    /// Removes the events from number `n` on, which are never delivered.
    pub(super) fn dropped_from(&mut self, n: u64) {
        while self.sent.back().is_some_and(|position| position.n >= n) {
            self.sent.pop_back();
        }
    }

    /// Confirms all events up to number `n`. Returns true if a cursor moved.
    pub(super) fn applied(&mut self, n: u64) -> bool {
        let mut moved = false;
        if !self.older.is_empty() {
            let older: Vec<_> = self.older.extract_if(|_, (number, _)| *number <= n).collect();
            for (conv, (_, s)) in older {
                moved |= self.confirm(conv, s);
            }
        }
        while let Some(position) = self.sent.pop_front_if(|position| position.n <= n) {
            moved |= self.confirm(position.conv, position.s);
        }
        moved
    }

    /// Confirms the events of a conversation up to seq `s`. Returns true if its cursor moved.
    pub(super) fn confirm(&mut self, conv: ConversationId, s: u64) -> bool {
        if self.reported.get(&conv).is_some_and(|reported| *reported >= s) {
            return false;
        }
        let cursor = self.confirmed.entry(conv).or_insert(0);
        let moved = s > *cursor;
        *cursor = s.max(*cursor);
        moved
    }

    /// Returns the cursors to be reported.
    #[must_use]
    pub(super) fn pending(&self) -> Vec<(ConversationId, u64)> {
        let pending = self.confirmed.iter();
        pending.map(|(conv, s)| (conv.clone(), *s)).collect()
    }

    /// Drains the cursors to be reported, and records them as reported.
    pub(super) fn take(&mut self) -> Vec<(ConversationId, u64)> {
        let cursors: Vec<_> = self.confirmed.drain().collect();
        for (conv, s) in &cursors {
            self.reported.insert(conv.clone(), *s);
        }
        cursors
    }

    /// Restores a cursor whose report was temporarily refused.
    pub(super) fn unreported(&mut self, conv: ConversationId, s: u64) {
        // A later report may have been made meanwhile: only this one is withdrawn.
        if self.reported.get(&conv) == Some(&s) {
            self.reported.remove(&conv);
        }
        self.confirm(conv, s);
    }

    /// Removes a conversation that the user is no longer a member of.
    pub(super) fn forget(&mut self, conv: &ConversationId) {
        self.older.remove(conv);
        self.confirmed.remove(conv);
        self.reported.remove(conv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(i: usize) -> ConversationId {
        ConversationId::parse(&format!("g_{i}")).unwrap()
    }

    fn sorted(mut cursors: Vec<(ConversationId, u64)>) -> Vec<(ConversationId, u64)> {
        cursors.sort();
        cursors
    }

    #[test]
    fn session_seq_confirms_all_before_it_and_reports_cursors_once() {
        let mut tracker = DeliveryTracker::default();
        for (n, c, s) in [(1, 1, 10), (2, 2, 5), (3, 1, 11), (4, 1, 12)] {
            tracker.sent(n, &conv(c), s);
        }
        assert!(tracker.applied(3));
        assert_eq!(sorted(tracker.take()), [(conv(1), 11), (conv(2), 5)]);
        assert!(!tracker.applied(3));
        assert_eq!(tracker.pending(), []);
        assert!(
            !tracker.confirm(conv(1), 11),
            "an explicit cursor that says nothing new"
        );
        assert!(tracker.applied(u64::MAX));
        assert_eq!(tracker.take(), [(conv(1), 12)]);
    }

    #[test]
    fn what_was_dropped_is_not_confirmed() {
        let mut tracker = DeliveryTracker::default();
        tracker.sent(1, &conv(1), 10);
        tracker.sent(2, &conv(1), 11);
        tracker.dropped_from(2);
        tracker.applied(9);
        assert_eq!(tracker.take(), [(conv(1), 10)]);
    }

    #[test]
    fn silent_client_costs_the_tracker_only_its_conversations() {
        let mut tracker = DeliveryTracker::default();
        for n in 0..10_000 {
            tracker.sent(n + 1, &conv(n as usize % 7), n / 7 + 1);
        }
        assert!(tracker.sent.len() <= UNCONFIRMED && tracker.older.len() == 7);
        tracker.applied(10_000);
        let cursors = sorted(tracker.take());
        assert_eq!(cursors.len(), 7);
        assert!(cursors.iter().all(|(_, s)| *s >= 1428), "{cursors:?}");
    }
}
