//! Typing throttle: a notice is not repeated before it is about to expire, and all notices of a user together have a
//! rate. Pure: time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::ConversationId;

use super::rate_limit::TokenBucket;

/// Number of entries from which on expired ones are removed.
const PRUNE: usize = 16;

/// Recently forwarded typing notices of one user.
#[derive(Debug)]
pub(in crate::session) struct TypingThrottle {
    every: Duration,
    rate: TokenBucket,
    lately: HashMap<ConversationId, (Instant, bool)>,
}

// === impl TypingThrottle ===

impl TypingThrottle {
    /// Creates an empty throttle. The same notice passes once per `every` and conversation; `per_second` limits all of
    /// them.
    #[must_use]
    pub(in crate::session) fn new(every: Duration, per_second: u32, now: Instant) -> TypingThrottle {
        TypingThrottle {
            every,
            rate: TokenBucket::new(per_second, per_second, now),
            lately: HashMap::new(),
        }
    }

    /// Returns true if the notice is to be forwarded; otherwise it is dropped.
    pub(in crate::session) fn admit(&mut self, conv: &ConversationId, on: bool, now: Instant) -> bool {
        let last = self.lately.get(conv);
        // Viewers show a notice for a while: a repetition adds nothing before that, nor does an end without a start.
        let pointless = match last {
            Some((at, was)) => *was == on && now.saturating_duration_since(*at) < self.every,
            None => !on,
        };
        if pointless || self.rate.take(now).is_err() {
            return false;
        }
        if self.lately.len() >= PRUNE {
            let every = self.every;
            self.lately
                .retain(|_, (at, _)| now.saturating_duration_since(*at) < every * 2);
        }
        self.lately.insert(conv.clone(), (now, on));
        true
    }

    /// Returns true if no entry is effective any more, so that the throttle equals a new one.
    #[must_use]
    pub(in crate::session) fn is_idle(&self, now: Instant) -> bool {
        let every = self.every;
        self.rate.is_full(now)
            && self
                .lately
                .values()
                .all(|(at, _)| now.saturating_duration_since(*at) >= every * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn conv(i: usize) -> ConversationId {
        ConversationId::parse(&format!("g_{i}")).unwrap()
    }

    #[test]
    fn typing_repeats_every_three_seconds_and_its_end_passes() {
        let now = Instant::now();
        let mut notes = TypingThrottle::new(3 * SEC, 2, now);
        assert!(
            !notes.admit(&conv(1), false, now),
            "nobody was told that it began"
        );
        assert!(notes.admit(&conv(1), true, now));
        for ms in [100, 1_000, 2_999] {
            assert!(!notes.admit(&conv(1), true, now + Duration::from_millis(ms)));
        }
        assert!(notes.admit(&conv(1), true, now + 3 * SEC));
        assert!(notes.admit(&conv(1), false, now + 4 * SEC));
        assert!(!notes.admit(&conv(1), false, now + 5 * SEC));
        assert!(notes.admit(&conv(1), true, now + 5 * SEC));
    }

    #[test]
    fn many_conversations_share_a_rate_and_are_forgotten() {
        let now = Instant::now();
        let mut notes = TypingThrottle::new(3 * SEC, 2, now);
        let passed = (0..50).filter(|i| notes.admit(&conv(*i), true, now)).count();
        assert_eq!(passed, 2);
        for i in 1..=100 {
            let at = now + SEC * u32::try_from(i).unwrap();
            assert!(notes.admit(&conv(100 + i), true, at));
        }
        assert!(notes.lately.len() <= PRUNE, "{}", notes.lately.len());
        assert!(!notes.is_idle(now + 101 * SEC) && notes.is_idle(now + 106 * SEC));
    }
}
