//! Backoff between attempts to reach a shard owner.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// Shortest pause in milliseconds; it bounds the load on an owner that refuses at once.
const SHORTEST_MS: u64 = 10;
/// Upper bound in milliseconds of the first pause; it doubles with each failure.
const FIRST_MS: u64 = 20;
/// Upper bound in milliseconds of every pause.
const LONGEST_MS: u64 = 400;

/// Pauses after consecutive failures: random, with an upper bound that doubles from 20 ms to 400 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Counts a failure and returns the pause before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let longest = FIRST_MS << self.failures.min(5);
        self.failures = self.failures.saturating_add(1);
        // Random: all nodes lose an owner at the same moment and must not retry in step.
        Duration::from_millis(rand::random_range(SHORTEST_MS..=longest.min(LONGEST_MS)))
    }

    /// Returns the number of failures since the last success.
    pub(crate) fn failures(self) -> u32 {
        self.failures
    }

    /// Begins anew after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Waits until `due`, or forever without a deadline.
pub(crate) async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        for longest in [20, 40, 80, 160, 320, 400, 400, 400] {
            let pause = backoff.next();
            assert!(pause >= Duration::from_millis(10) && pause <= Duration::from_millis(longest));
        }
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(20));
    }
}
