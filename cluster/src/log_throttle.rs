//! Rate limiter for repeated log lines.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Passes one log line per interval and counts the suppressed ones.
#[derive(Debug)]
pub struct LogThrottle {
    every: Duration,
    state: Mutex<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    last: Option<Instant>,
    held_back: u64,
}

// === impl LogThrottle ===

impl LogThrottle {
    /// Creates a throttle that passes the first line, then at most one per `every`.
    #[must_use]
    pub const fn every(every: Duration) -> LogThrottle {
        let state = ThrottleState {
            last: None,
            held_back: 0,
        };
        LogThrottle {
            every,
            state: Mutex::new(state),
        }
    }

    /// Returns the number of lines suppressed since the last one if a line may be written now; `None` suppresses this
    /// one.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let due = state
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if due {
            state.last = Some(now);
            return Some(std::mem::take(&mut state.held_back));
        }
        state.held_back += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_with_the_next() {
        let throttle = LogThrottle::every(Duration::from_secs(60));
        let start = Instant::now();
        let due = |s| throttle.due_at(start + Duration::from_secs(s));
        assert_eq!(due(0), Some(0));
        assert_eq!((due(1), due(59)), (None, None));
        assert_eq!(due(60), Some(2));
        assert_eq!(due(61), None);
        assert_eq!(due(500), Some(1));
        assert_eq!(due(600), Some(0));
    }
}
