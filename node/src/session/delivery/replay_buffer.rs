//! Replay buffer: the numbered events of a session that its client has not confirmed, from which a resume is served.
//! Pure.
//!
//! Every event gets its number here, attached or detached. The buffer is bounded in events and bytes. An event removed
//! by a confirmation is not needed any more. One evicted by the bounds makes a resume from before it a gap.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::ConversationId;

/// Newest unconfirmed events of a session.
#[derive(Debug)]
pub(in crate::session) struct ReplayBuffer {
    events: VecDeque<BufferedEvent>,
    bytes: usize,
    most: Capacity,
    /// Number of the last event; the buffered ones are those directly below it.
    last: u64,
}

/// Limits of a replay buffer.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub events: usize,
    /// Maximum bytes of the events; the newest event is kept even if it alone is larger.
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferedEvent {
    /// JSON of the event after its number.
    pub tail: Bytes,
    /// Position of the conversation that a client with this event has; `None`: the event moves no position.
    pub covers: Option<(ConversationId, u64)>,
}

/// Some of the requested events were evicted, or were never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

// === impl ReplayBuffer ===

impl ReplayBuffer {
    /// Creates an empty buffer whose first event gets number `last + 1`.
    #[must_use]
    pub(in crate::session) fn new(most: Capacity, last: u64) -> ReplayBuffer {
        ReplayBuffer {
            events: VecDeque::new(),
            bytes: 0,
            most,
            last,
        }
    }

    /// Appends an event and returns its number.
    pub(in crate::session) fn push(&mut self, event: BufferedEvent) -> u64 {
        self.last += 1;
        self.bytes += event.tail.len();
        self.events.push_back(event);
        // The newest event stays whatever its size: otherwise a large one could never be delivered.
        while self.events.len() > self.most.events.max(1)
            || (self.bytes > self.most.bytes && self.events.len() > 1)
        {
            self.drop_first();
        }
        self.last
    }

    /// Removes the events up to `n`, which the client has applied.
    pub(in crate::session) fn confirm(&mut self, n: u64) {
        // Clamped: a client may confirm numbers that were never sent.
        while self.floor() < n.min(self.last) {
            self.drop_first();
        }
    }

    /// The number of the last event.
    #[must_use]
    pub(in crate::session) fn last(&self) -> u64 {
        self.last
    }

    /// Number of the last removed event; only what follows it can be replayed.
    #[must_use]
    pub(in crate::session) fn floor(&self) -> u64 {
        self.last - self.events.len() as u64
    }

    /// Size of the buffered events in bytes.
    #[must_use]
    pub(in crate::session) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if at least half of the events or of the bytes are used.
    #[must_use]
    pub(in crate::session) fn half_full(&self) -> bool {
        self.events.len() * 2 >= self.most.events || self.bytes * 2 >= self.most.bytes
    }

    /// Returns the events behind `n`, with their numbers.
    ///
    /// # Errors
    /// [`Gap`] if some of them were removed, or `n` was never reached.
    pub(in crate::session) fn after(
        &self,
        n: u64,
    ) -> Result<impl Iterator<Item = (u64, &BufferedEvent)>, Gap> {
        let skipped = n
            .checked_sub(self.floor())
            .filter(|_| n <= self.last)
            .ok_or(Gap)?;
        // Cannot fail: the difference is at most the number of buffered events.
        let skipped = usize::try_from(skipped).map_err(|_| Gap)?;
        Ok((n + 1..).zip(self.events.iter().skip(skipped)))
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.tail.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(bytes: usize) -> BufferedEvent {
        BufferedEvent {
            tail: Bytes::from(vec![b'x'; bytes]),
            covers: None,
        }
    }

    #[derive(Clone, Debug)]
    enum ReplayStep {
        Push(usize),
        Confirm(u64),
        After(u64),
    }

    fn step() -> impl Strategy<Value = ReplayStep> {
        prop_oneof![
            4 => (1usize..40).prop_map(ReplayStep::Push),
            1 => (0u64..60).prop_map(ReplayStep::Confirm),
            2 => (0u64..60).prop_map(ReplayStep::After),
        ]
    }

    proptest! {
        /// The model keeps everything; the buffer must return the same or a gap.
        #[test]
        fn what_is_behind_a_number_comes_whole_or_not_at_all(
            start in 0u64..10,
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let most = Capacity { events: 8, bytes: 100 };
            let mut ring = ReplayBuffer::new(most, start);
            let mut all: Vec<(u64, usize)> = Vec::new();
            let mut confirmed = start;
            for step in steps {
                match step {
                    ReplayStep::Push(bytes) => {
                        let n = ring.push(event(bytes));
                        prop_assert_eq!(n, start + all.len() as u64 + 1);
                        all.push((n, bytes));
                    }
                    ReplayStep::Confirm(n) => {
                        ring.confirm(n);
                        confirmed = confirmed.max(n.min(ring.last()));
                    }
                    ReplayStep::After(n) => match ring.after(n) {
                        Ok(events) => {
                            let got: Vec<_> = events.map(|(n, buffered)| (n, buffered.tail.len())).collect();
                            let expected: Vec<_> = all.iter().copied().filter(|(m, _)| *m > n).collect();
                            prop_assert_eq!(got, expected);
                        }
                        Err(Gap) => prop_assert!(n > ring.last() || n < ring.floor()),
                    },
                }
                let held: Vec<usize> = all.iter().filter(|(n, _)| *n > ring.floor()).map(|(_, b)| *b).collect();
                prop_assert!(held.len() <= most.events);
                prop_assert!(held.iter().sum::<usize>() <= most.bytes || held.len() == 1);
                prop_assert!(ring.floor() >= confirmed);
                // Nothing is evicted early: the next older event would not fit, or was confirmed.
                if let Some((_, next)) = all.iter().rev().nth(held.len()).filter(|(n, _)| *n > confirmed) {
                    prop_assert!(held.len() == most.events || held.iter().sum::<usize>() + next > most.bytes);
                }
            }
        }
    }

    #[test]
    fn a_number_that_was_never_sent_is_a_gap() {
        let mut ring = ReplayBuffer::new(
            Capacity {
                events: 8,
                bytes: 100,
            },
            5,
        );
        assert_eq!(ring.after(6).err(), Some(Gap));
        assert_eq!(ring.after(4).err(), Some(Gap));
        assert_eq!(ring.after(5).unwrap().count(), 0);
        assert_eq!(ring.push(event(1)), 6);
        assert_eq!(ring.after(5).unwrap().map(|(n, _)| n).collect::<Vec<_>>(), [6]);
    }
}
