//! Log lines that a loop would repeat.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets a line be written once in a while, and counts the times in between.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    last: Option<Instant>,
    held_back: u64,
}

// === impl Seldom ===

impl Seldom {
    /// Lets the first through, and then at most one in such a time.
    #[must_use]
    pub const fn every(every: Duration) -> Seldom {
        let said = Said {
            last: None,
            held_back: 0,
        };
        Seldom {
            every,
            said: Mutex::new(said),
        }
    }

    /// Whether the line is to be written; then with how many were not, since the one before.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.said.lock();
        let due = said
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if due {
            said.last = Some(now);
            return Some(std::mem::take(&mut said.held_back));
        }
        said.held_back += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_with_the_next() {
        let seldom = Seldom::every(Duration::from_secs(60));
        let start = Instant::now();
        let due = |s| seldom.due_at(start + Duration::from_secs(s));
        assert_eq!(due(0), Some(0));
        assert_eq!((due(1), due(59)), (None, None));
        assert_eq!(due(60), Some(2));
        assert_eq!(due(61), None);
        assert_eq!(due(500), Some(1));
        assert_eq!(due(600), Some(0));
    }
}
