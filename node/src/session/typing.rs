//! How often a session's typing is passed on: a notice in a conversation is not repeated before it is about to expire, and
//! all of them together have a rate. Pure: time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::ConvId;

use super::rate_limit::Bucket;

/// Conversations after which old notes are looked for.
const PRUNE: usize = 16;

/// What was passed on lately.
#[derive(Debug)]
pub struct Notes {
    every: Duration,
    rate: Bucket,
    lately: HashMap<ConvId, (Instant, bool)>,
}

// === impl Notes ===

impl Notes {
    /// Nothing was passed on yet. The same is passed on once per `every` and conversation, and `per_second` in all.
    #[must_use]
    pub fn new(every: Duration, per_second: u32, now: Instant) -> Notes {
        Notes {
            every,
            rate: Bucket::new(per_second, per_second, now),
            lately: HashMap::new(),
        }
    }

    /// Whether the notice is passed on; otherwise it is dropped.
    pub fn admit(&mut self, conv: &ConvId, on: bool, now: Instant) -> bool {
        let last = self.lately.get(conv);
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

    /// Whether it knows nothing that matters any more.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
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

    fn conv(i: usize) -> ConvId {
        ConvId::parse(&format!("g_{i}")).unwrap()
    }

    #[test]
    fn a_notice_is_repeated_every_three_seconds_and_its_end_passes() {
        let now = Instant::now();
        let mut notes = Notes::new(3 * SEC, 2, now);
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
        let mut notes = Notes::new(3 * SEC, 2, now);
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
