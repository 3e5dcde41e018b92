//! Retry queue: temporarily refused sends that the session repeats, in the order of their dispatch. Pure.
//!
//! A pipelining client may have several sends of a conversation refused. They are repeated one after the other, the
//! earliest first: a later one that returned earlier would overtake it. The session dispatches no further command while
//! the queue holds a send.
//!
//! Queue: bounded by the in-flight limit of the session, because refused sends stay counted there. It has no metric.

use std::collections::{BTreeMap, HashMap};

use protocol::ConversationId;

/// Refused sends of one session.
#[derive(Debug)]
pub(super) struct RetryQueue<T> {
    /// A conversation has an entry from its first refusal to the result of its last repetition.
    refused: HashMap<ConversationId, BTreeMap<u64, T>>,
    dispatched: u64,
}

// === impl RetryQueue ===

impl<T> Default for RetryQueue<T> {
    fn default() -> Self {
        RetryQueue {
            refused: HashMap::new(),
            dispatched: 0,
        }
    }
}

impl<T> RetryQueue<T> {
    /// Returns the number of the next send that is dispatched.
    pub(super) fn number(&mut self) -> u64 {
        self.dispatched += 1;
        self.dispatched
    }

    /// Returns true if no send waits for its repetition or for the result of one.
    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Adds a refused send under the number of its dispatch. Returns true if it is the first of its conversation, whose
    /// repetitions have to be started.
    pub(super) fn add(&mut self, conv: &ConversationId, number: u64, send: T) -> bool {
        let is_first = !self.refused.contains_key(conv);
        self.refused.entry(conv.clone()).or_default().insert(number, send);
        is_first
    }

    /// Removes the earliest refused send of the conversation for its repetition. Without one, ends the conversation's
    /// repetitions.
    pub(super) fn next(&mut self, conv: &ConversationId) -> Option<T> {
        let next = self.refused.get_mut(conv)?.pop_first();
        if next.is_none() {
            self.refused.remove(conv);
        }
        next.map(|(_, send)| send)
    }

    /// Removes the refused sends of the conversation that were dispatched after this number, in that order.
    pub(super) fn take_behind(&mut self, conv: &ConversationId, number: u64) -> Vec<T> {
        let behind = self
            .refused
            .get_mut(conv)
            .map(|sends| sends.split_off(&(number + 1)));
        behind.unwrap_or_default().into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(name: &str) -> ConversationId {
        ConversationId::parse(name).unwrap()
    }

    #[test]
    fn earliest_refused_send_is_repeated_first() {
        let (mut queue, conv) = (RetryQueue::default(), conv("g_1"));
        let [first, second] = [queue.number(), queue.number()];
        // The refusal of the second send may arrive first.
        assert!(queue.add(&conv, second, "second"));
        assert!(!queue.add(&conv, first, "first"));
        assert_eq!(queue.next(&conv), Some("first"));
        assert_eq!(queue.next(&conv), Some("second"));
    }

    #[test]
    fn repetitions_end_with_the_result_of_the_last_one() {
        let (mut queue, conv) = (RetryQueue::default(), conv("g_1"));
        let number = queue.number();
        assert!(queue.add(&conv, number, ()));
        assert_eq!(queue.next(&conv), Some(()));
        assert!(!queue.is_empty(), "its result is pending");
        assert!(!queue.add(&conv, number, ()), "refused again");
        assert_eq!(queue.next(&conv), Some(()));
        assert_eq!(queue.next(&conv), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn abandoned_send_takes_the_later_ones_with_it() {
        let mut queue = RetryQueue::default();
        let (one, other) = (conv("g_1"), conv("g_2"));
        for number in [3, 1, 4] {
            queue.add(&one, number, number);
        }
        queue.add(&other, 5, 5);
        assert_eq!(queue.take_behind(&one, 2), [3, 4]);
        assert_eq!(queue.next(&one), Some(1));
        assert_eq!(queue.next(&other), Some(5));
    }
}
