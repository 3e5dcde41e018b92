//! The events of a session that its client has not confirmed: what a resume is served from. Pure.
//!
//! Every event gets its number here, whether somebody is connected or not. The ring is bounded in events and bytes; what
//! leaves it by confirmation is of no use any more, what leaves it by the bounds makes a resume from before it a gap.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::ConvId;

/// The newest events of a session.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Kept>,
    bytes: usize,
    most: Capacity,
    /// The number of the last event.
    last: u64,
}

/// How much a ring holds.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Events at most.
    pub events: usize,
    /// Bytes of them at most, the newest event excepted.
    pub bytes: usize,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Everything after its number.
    pub tail: Bytes,
    /// Who has this event has the conversation up to there.
    pub covers: Option<(ConvId, u64)>,
}

/// The events asked for are not all there, or were never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

// === impl Ring ===

impl Ring {
    /// An empty ring whose first event gets number `last + 1`.
    #[must_use]
    pub fn new(most: Capacity, last: u64) -> Ring {
        Ring {
            events: VecDeque::new(),
            bytes: 0,
            most,
            last,
        }
    }

    /// Appends an event and returns its number.
    pub fn push(&mut self, event: Kept) -> u64 {
        self.last += 1;
        self.bytes += event.tail.len();
        self.events.push_back(event);
        while self.events.len() > self.most.events.max(1)
            || (self.bytes > self.most.bytes && self.events.len() > 1)
        {
            self.drop_first();
        }
        self.last
    }

    /// The client has applied everything up to `n`.
    pub fn confirm(&mut self, n: u64) {
        while self.floor() < n.min(self.last) {
            self.drop_first();
        }
    }

    /// The number of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Events up to this number are gone.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.last - self.events.len() as u64
    }

    /// Bytes of the events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether at least half of the room is taken.
    #[must_use]
    pub fn half_full(&self) -> bool {
        self.events.len() * 2 >= self.most.events || self.bytes * 2 >= self.most.bytes
    }

    /// The events behind `n`, with their numbers.
    ///
    /// # Errors
    /// [`Gap`] when some of them are gone, or `n` was never reached.
    pub fn after(&self, n: u64) -> Result<impl Iterator<Item = (u64, &Kept)>, Gap> {
        let skipped = n
            .checked_sub(self.floor())
            .filter(|_| n <= self.last)
            .ok_or(Gap)?;
        // What is in memory can be counted in memory.
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

    fn event(bytes: usize) -> Kept {
        Kept {
            tail: Bytes::from(vec![b'x'; bytes]),
            covers: None,
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Confirm(u64),
        After(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1usize..40).prop_map(Step::Push),
            1 => (0u64..60).prop_map(Step::Confirm),
            2 => (0u64..60).prop_map(Step::After),
        ]
    }

    proptest! {
        /// The model keeps everything; the ring must give the same or say that it can't.
        #[test]
        fn what_is_behind_a_number_comes_whole_or_not_at_all(
            start in 0u64..10,
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let most = Capacity { events: 8, bytes: 100 };
            let mut ring = Ring::new(most, start);
            let mut all: Vec<(u64, usize)> = Vec::new();
            let mut confirmed = start;
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        let n = ring.push(event(bytes));
                        prop_assert_eq!(n, start + all.len() as u64 + 1);
                        all.push((n, bytes));
                    }
                    Step::Confirm(n) => {
                        ring.confirm(n);
                        confirmed = confirmed.max(n.min(ring.last()));
                    }
                    Step::After(n) => match ring.after(n) {
                        Ok(events) => {
                            let got: Vec<_> = events.map(|(n, kept)| (n, kept.tail.len())).collect();
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
                // Nothing leaves before it must: the next older one would not fit, or was confirmed.
                if let Some((_, next)) = all.iter().rev().nth(held.len()).filter(|(n, _)| *n > confirmed) {
                    prop_assert!(held.len() == most.events || held.iter().sum::<usize>() + next > most.bytes);
                }
            }
        }
    }

    #[test]
    fn a_number_that_was_never_sent_is_a_gap() {
        let mut ring = Ring::new(
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
