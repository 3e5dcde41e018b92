//! Pings of an engine connection that are not answered yet. Their pongs come in the order of the pings and confirm the
//! events before them. Pure.

use std::collections::VecDeque;

/// Maximum number of remembered pings.
const PINGS: usize = 64;

/// Unanswered pings of one connection.
#[derive(Debug, Default)]
pub(super) struct PingQueue {
    /// Number of pings so far.
    pings: u64,
    /// Number of pongs so far.
    pongs: u64,
    /// Remembered pings: their number, and the event that each followed.
    queue: VecDeque<(u64, u64)>,
}

// === impl PingQueue ===

impl PingQueue {
    /// Records a ping behind event `sent`.
    pub(super) fn on_ping(&mut self, sent: u64) {
        self.pings += 1;
        // A client that answers none must not grow the queue; the pongs of the others stay assigned by their number.
        if self.queue.len() < PINGS {
            self.queue.push_back((self.pings, sent));
        }
    }

    /// Records a pong. Returns the event that it confirms; `None` if no ping is unanswered.
    pub(super) fn on_pong(&mut self) -> Option<u64> {
        if self.pongs == self.pings {
            return None;
        }
        self.pongs += 1;
        let (number, sent) = *self.queue.front()?;
        (number == self.pongs).then(|| {
            self.queue.pop_front();
            sent
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pong_confirms_the_events_before_its_ping() {
        let mut pings = PingQueue::default();
        assert_eq!(pings.on_pong(), None, "a pong without a ping");
        pings.on_ping(3);
        pings.on_ping(7);
        assert_eq!(pings.on_pong(), Some(3));
        pings.on_ping(9);
        assert_eq!((pings.on_pong(), pings.on_pong()), (Some(7), Some(9)));
        assert_eq!(pings.on_pong(), None);
    }

    proptest! {
        /// Each ping follows as many events as there were pings before it.
        #[test]
        fn no_pong_confirms_more_than_its_ping(is_ping in prop::collection::vec(any::<bool>(), 0..400)) {
            let mut pings = PingQueue::default();
            let (mut sent, mut answered) = (0, 0);
            for is_ping in is_ping {
                if is_ping {
                    sent += 1;
                    pings.on_ping(sent);
                } else {
                    answered = (answered + 1).min(sent);
                    if let Some(confirmed) = pings.on_pong() {
                        prop_assert_eq!(confirmed, answered);
                    }
                }
                prop_assert!(pings.queue.len() <= PINGS);
            }
        }
    }
}
