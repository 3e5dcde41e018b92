//! What has arrived at the client: from event numbers, which the client confirms, to one delivered cursor per
//! conversation. Pure.

use std::collections::{HashMap, VecDeque};

use protocol::ConvId;

/// Numbered events that the client has not confirmed, at most; older ones are kept one per conversation.
const UNCONFIRMED: usize = 1_024;

/// From `n` to cursors.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Events sent and not confirmed, by ascending number.
    sent: VecDeque<Position>,
    /// Those that had to leave `sent`: the last per conversation, which implies the ones before.
    older: HashMap<ConvId, (u64, u64)>,
    /// Confirmed and not reported.
    confirmed: HashMap<ConvId, u64>,
    /// Reported last.
    reported: HashMap<ConvId, u64>,
}

#[derive(Debug)]
struct Position {
    n: u64,
    conv: ConvId,
    s: u64,
}

// === impl Arrivals ===

impl Arrivals {
    /// An event went out.
    pub fn sent(&mut self, n: u64, conv: &ConvId, s: u64) {
        if self.sent.len() >= UNCONFIRMED
            && let Some(Position { n, conv, s }) = self.sent.pop_front()
        {
            self.older.insert(conv, (n, s));
        }
        self.sent.push_back(Position {
            n,
            conv: conv.clone(),
            s,
        });
    }

    /// Events from this number on will never be sent.
    pub fn dropped_from(&mut self, n: u64) {
        while self.sent.back().is_some_and(|position| position.n >= n) {
            self.sent.pop_back();
        }
    }

    /// The client has applied everything up to `n`. Whether any cursor moved.
    pub fn applied(&mut self, n: u64) -> bool {
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

    /// The client has everything of the conversation up to `s`. Whether the cursor moved.
    pub fn confirm(&mut self, conv: ConvId, s: u64) -> bool {
        if self.reported.get(&conv).is_some_and(|reported| *reported >= s) {
            return false;
        }
        let cursor = self.confirmed.entry(conv).or_insert(0);
        let moved = s > *cursor;
        *cursor = s.max(*cursor);
        moved
    }

    /// The cursors to be reported.
    #[must_use]
    pub fn pending(&self) -> Vec<(ConvId, u64)> {
        let pending = self.confirmed.iter();
        pending.map(|(conv, s)| (conv.clone(), *s)).collect()
    }

    /// Takes the cursors to be reported.
    pub fn take(&mut self) -> Vec<(ConvId, u64)> {
        let cursors: Vec<_> = self.confirmed.drain().collect();
        for (conv, s) in &cursors {
            self.reported.insert(conv.clone(), *s);
        }
        cursors
    }

    /// A report was refused for the time being.
    pub fn unreported(&mut self, conv: ConvId, s: u64) {
        if self.reported.get(&conv) == Some(&s) {
            self.reported.remove(&conv);
        }
        self.confirm(conv, s);
    }

    /// Whether there is something to report.
    #[must_use]
    pub fn waiting(&self) -> bool {
        !self.confirmed.is_empty()
    }

    /// Forgets a conversation that the user is no longer in.
    pub fn forget(&mut self, conv: &ConvId) {
        self.older.remove(conv);
        self.confirmed.remove(conv);
        self.reported.remove(conv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(i: usize) -> ConvId {
        ConvId::parse(&format!("g_{i}")).unwrap()
    }

    fn sorted(mut cursors: Vec<(ConvId, u64)>) -> Vec<(ConvId, u64)> {
        cursors.sort();
        cursors
    }

    #[test]
    fn a_number_confirms_everything_up_to_it_and_cursors_are_reported_once() {
        let mut arrivals = Arrivals::default();
        for (n, c, s) in [(1, 1, 10), (2, 2, 5), (3, 1, 11), (4, 1, 12)] {
            arrivals.sent(n, &conv(c), s);
        }
        assert!(arrivals.applied(3));
        assert_eq!(sorted(arrivals.take()), [(conv(1), 11), (conv(2), 5)]);
        assert!(!arrivals.applied(3));
        assert!(!arrivals.waiting());
        assert!(
            !arrivals.confirm(conv(1), 11),
            "an explicit cursor that says nothing new"
        );
        assert!(arrivals.applied(u64::MAX));
        assert_eq!(arrivals.take(), [(conv(1), 12)]);
    }

    #[test]
    fn what_was_dropped_is_not_confirmed() {
        let mut arrivals = Arrivals::default();
        arrivals.sent(1, &conv(1), 10);
        arrivals.sent(2, &conv(1), 11);
        arrivals.dropped_from(2);
        arrivals.applied(9);
        assert_eq!(arrivals.take(), [(conv(1), 10)]);
    }

    #[test]
    fn a_client_that_never_confirms_costs_no_more_than_its_conversations() {
        let mut arrivals = Arrivals::default();
        for n in 0..10_000 {
            arrivals.sent(n + 1, &conv(n as usize % 7), n / 7 + 1);
        }
        assert!(arrivals.sent.len() <= UNCONFIRMED && arrivals.older.len() == 7);
        arrivals.applied(10_000);
        let cursors = sorted(arrivals.take());
        assert_eq!(cursors.len(), 7);
        assert!(cursors.iter().all(|(_, s)| *s >= 1428), "{cursors:?}");
    }
}
