//! How fast a session may ask, and when asking too fast becomes abuse. Pure: time is an argument.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

/// Watches what is asked for, refusals included: a client that goes on at a multiple of its rate ignores them.
#[derive(Clone, Debug)]
pub struct Abuse {
    /// Requests per window that are too many.
    threshold: f64,
    window: Duration,
    lasts: Duration,
    start: Instant,
    count: f64,
    over_since: Option<Instant>,
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Bucket {
        let burst = f64::from(burst.max(1));
        Bucket {
            per_second: f64::from(per_second.max(1)),
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }

    /// Whether it holds as much as it can: then it is as good as a new one.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens + gained >= self.burst
    }
}

// === impl Abuse ===

impl Abuse {
    /// Nothing was asked for yet. `lasts` is how long a client may go on at `factor` times its rate.
    #[must_use]
    pub fn new(per_second: u32, factor: u32, lasts: Duration, now: Instant) -> Abuse {
        let window = (lasts / 10).max(Duration::from_millis(10));
        let threshold = f64::from(per_second) * f64::from(factor) * window.as_secs_f64();
        Abuse {
            threshold: threshold.max(1.0),
            window,
            lasts,
            start: now,
            count: 0.0,
            over_since: None,
        }
    }

    /// Notes one request; whether it is one too many.
    pub fn note(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.start);
        if passed >= self.window {
            let over = self.count >= self.threshold && passed < self.window * 2;
            self.over_since = if over {
                self.over_since.or(Some(self.start))
            } else {
                None
            };
            self.start = now;
            self.count = 0.0;
        }
        self.count += 1.0;
        self.over_since
            .is_some_and(|since| now.duration_since(since) >= self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(20, 60, start);
        let taken = (0..100).filter(|_| bucket.take(start).is_ok()).count();
        assert_eq!(taken, 60);
        let wait = bucket.take(start).unwrap_err();
        assert!(wait > 49 * MS && wait <= 51 * MS, "{wait:?}");
        assert_eq!(bucket.take(start + wait), Ok(()));
        let later = start + Duration::from_secs(2);
        let taken = (0..100).filter(|_| bucket.take(later).is_ok()).count();
        assert!((38..=40).contains(&taken), "two seconds give forty, not {taken}");
    }

    /// Whether a client that asks `per_second` times is ever found abusive within `seconds`.
    fn abusive(per_second: u32, seconds: u32) -> bool {
        let start = Instant::now();
        let mut abuse = Abuse::new(20, 3, Duration::from_secs(10), start);
        (0..per_second * seconds).any(|i| abuse.note(start + Duration::from_secs(1) * i / per_second))
    }

    #[test]
    fn three_times_the_rate_for_ten_seconds_is_abuse_and_less_is_not() {
        assert!(abusive(80, 12));
        assert!(!abusive(80, 9));
        assert!(!abusive(50, 60));
    }

    #[test]
    fn a_pause_is_forgiven() {
        let start = Instant::now();
        let mut abuse = Abuse::new(20, 3, Duration::from_secs(10), start);
        for second in 0..60u32 {
            for i in 0..100u32 {
                // Every fifth second is quiet.
                if second % 5 != 0 {
                    assert!(!abuse.note(start + Duration::from_secs(u64::from(second)) + 10 * MS * i));
                }
            }
        }
    }
}
