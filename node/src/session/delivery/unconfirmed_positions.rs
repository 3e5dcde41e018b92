//! Positions of the events that the client of a device has not confirmed, from which its durable cursors follow. Pure.
//!
//! Unlike the [delivery tracker](super::delivery_tracker), which also moves when a connection has received an event, only
//! the confirmation of the client counts here: behind it, nothing is sent again.

use std::collections::{BTreeMap, VecDeque};

use protocol::ConversationId;

/// Maximum number of tracked events; of older ones only the first and the last per conversation are kept.
const TRACKED: usize = 1_024;

/// Unconfirmed events of one session.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedPositions {
    /// Events by ascending number.
    events: VecDeque<UnconfirmedEvent>,
    /// Events evicted from `events`.
    older: BTreeMap<ConversationId, OlderEvents>,
}

#[derive(Debug)]
struct UnconfirmedEvent {
    n: u64,
    conv: ConversationId,
    /// First position that the event covers; 0 if it introduces the conversation.
    first: u64,
}

#[derive(Debug)]
struct OlderEvents {
    last_n: u64,
    first: u64,
}

// === impl UnconfirmedPositions ===

impl UnconfirmedPositions {
    /// Adds an event that was sent, or that its client has to read again.
    pub(super) fn add(&mut self, n: u64, conv: &ConversationId, first: u64) {
        if self.events.len() >= TRACKED
            && let Some(UnconfirmedEvent { n, conv, first }) = self.events.pop_front()
        {
            let older = self.older.entry(conv).or_insert(OlderEvents { last_n: n, first });
            older.last_n = n;
        }
        let conv = conv.clone();
        self.events.push_back(UnconfirmedEvent { n, conv, first });
    }

    /// Removes the events up to number `n`.
    pub(super) fn confirm(&mut self, n: u64) {
        self.older.retain(|_, older| older.last_n > n);
        while self.events.pop_front_if(|event| event.n <= n).is_some() {}
    }

    /// Returns the positions up to which everything is confirmed. `reached`: positions of the session, with the
    /// unconfirmed events. A conversation that the client may not know yet is left out.
    pub(super) fn confirmed(&self, reached: Vec<(ConversationId, u64)>) -> Vec<(ConversationId, u64)> {
        let mut positions: BTreeMap<ConversationId, Option<u64>> = BTreeMap::new();
        let older = self.older.iter().map(|(conv, older)| (conv, older.first));
        let events = self.events.iter().map(|event| (&event.conv, event.first));
        for (conv, first) in older.chain(events) {
            // The first one decides. It may be of a conversation that the user has left since.
            positions
                .entry(conv.clone())
                .or_insert_with(|| first.checked_sub(1));
        }
        for (conv, at) in reached {
            positions.entry(conv).or_insert(Some(at));
        }
        let known = positions.into_iter();
        known.filter_map(|(conv, at)| Some((conv, at?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(i: u64) -> ConversationId {
        ConversationId::parse(&format!("g_{i}")).unwrap()
    }

    #[test]
    fn first_unconfirmed_event_bounds_its_conversation() {
        let mut positions = UnconfirmedPositions::default();
        for (n, c, first) in [(1, 1, 10), (2, 2, 5), (3, 1, 11)] {
            positions.add(n, &conv(c), first);
        }
        let reached = || vec![(conv(1), 11), (conv(2), 5), (conv(3), 7)];
        let confirmed = positions.confirmed(reached());
        assert_eq!(confirmed, [(conv(1), 9), (conv(2), 4), (conv(3), 7)]);
        positions.confirm(2);
        let confirmed = positions.confirmed(reached());
        assert_eq!(confirmed, [(conv(1), 10), (conv(2), 5), (conv(3), 7)]);
        positions.confirm(3);
        assert_eq!(positions.confirmed(reached()), reached());
    }

    #[test]
    fn conversation_without_a_confirmed_introduction_is_left_out() {
        let mut positions = UnconfirmedPositions::default();
        positions.add(1, &conv(1), 0);
        positions.add(2, &conv(1), 8);
        assert_eq!(positions.confirmed(vec![(conv(1), 8)]), []);
        positions.confirm(1);
        assert_eq!(positions.confirmed(vec![(conv(1), 8)]), [(conv(1), 7)]);
    }

    #[test]
    fn removal_stays_until_it_is_confirmed() {
        let mut positions = UnconfirmedPositions::default();
        positions.add(1, &conv(1), 9);
        assert_eq!(positions.confirmed(Vec::new()), [(conv(1), 8)]);
        positions.confirm(1);
        assert_eq!(positions.confirmed(Vec::new()), []);
    }

    #[test]
    fn silent_client_costs_only_its_conversations_and_loses_nothing() {
        let mut positions = UnconfirmedPositions::default();
        for n in 0..10_000 {
            positions.add(n + 1, &conv(n % 7), n / 7 + 1);
        }
        assert!(positions.events.len() <= TRACKED && positions.older.len() == 7);
        let all = |at| (0..7).map(|c| (conv(c), at)).collect::<Vec<_>>();
        let reached = || (0..7).map(|c| (conv(c), 1_429)).collect();
        assert_eq!(positions.confirmed(reached()), all(0));
        // Of the older ones the exact position is not known: the client gets some of them again.
        positions.confirm(5_000);
        assert_eq!(positions.confirmed(reached()), all(0));
        positions.confirm(10_000);
        assert_eq!(positions.confirmed(reached()), all(1_429));
    }
}
