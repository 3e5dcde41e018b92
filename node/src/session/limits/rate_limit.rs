//! Token bucket, and detection of clients that ignore its refusals. Pure: time is an argument.

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

/// Detects abuse: requests at a multiple of the rate, refused ones included, for too long.
#[derive(Clone, Debug)]
pub(in crate::session) struct AbuseDetector {
    /// Requests per window from which on the window is abusive.
    threshold: f64,
    window: Duration,
    lasts: Duration,
    start: Instant,
    count: f64,
    over_since: Option<Instant>,
}

// === impl TokenBucket ===

impl TokenBucket {
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now: Instant) -> TokenBucket {
        let burst = f64::from(burst.max(1));
        TokenBucket {
            per_second: f64::from(per_second.max(1)),
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Removes one token.
    ///
    /// # Errors
    /// Time until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.take_many(1, now)
    }

    /// Removes `tokens` tokens, or none. A cost above the burst needs a full bucket, which then owes the rest. So every
    /// permitted command is possible, and the rate holds in the long run.
    ///
    /// # Errors
    /// Time until there are enough.
    pub fn take_many(&mut self, tokens: u32, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let tokens = f64::from(tokens);
        // Capped at the burst: a larger cost would otherwise never be possible.
        let missing = tokens.min(self.burst) - self.tokens;
        if missing > 0.0 {
            return Err(Duration::from_secs_f64(missing / self.per_second));
        }
        self.tokens -= tokens;
        Ok(())
    }

    /// Removes `tokens` tokens even if there are fewer. Returns the time until none is owed.
    pub fn owe(&mut self, tokens: u32, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= f64::from(tokens);
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.per_second)
    }

    /// Changes the rate and the burst. Tokens gained so far stay, up to the new burst.
    pub fn set_rate(&mut self, per_second: f64, burst: f64, now: Instant) {
        self.refill(now);
        self.per_second = per_second;
        self.burst = burst;
        self.tokens = self.tokens.min(burst);
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
    }

    /// Returns true if the bucket is full, so that it equals a new one.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens + gained >= self.burst
    }
}

// === impl AbuseDetector ===

impl AbuseDetector {
    /// Creates a detector without requests. `lasts`: time for which a client may exceed `factor` times its rate.
    #[must_use]
    pub(in crate::session) fn new(
        per_second: u32,
        factor: u32,
        lasts: Duration,
        now: Instant,
    ) -> AbuseDetector {
        let window = (lasts / 10).max(Duration::from_millis(10));
        let threshold = f64::from(per_second) * f64::from(factor) * window.as_secs_f64();
        AbuseDetector {
            threshold: threshold.max(1.0),
            window,
            lasts,
            start: now,
            count: 0.0,
            over_since: None,
        }
    }

    /// Counts a request. Returns true if it is one too many.
    pub(in crate::session) fn note(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.start);
        if passed >= self.window {
            // After a pause as long as a window the client starts anew.
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

    /// Returns true if there was no request for two windows, so that the detector equals a new one.
    #[must_use]
    pub(in crate::session) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.start) >= self.window * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(20, 60, start);
        let taken = (0..100).filter(|_| bucket.take(start).is_ok()).count();
        assert_eq!(taken, 60);
        let wait = bucket.take(start).unwrap_err();
        assert!(wait > 49 * MS && wait <= 51 * MS, "{wait:?}");
        assert_eq!(bucket.take(start + wait), Ok(()));
        let later = start + Duration::from_secs(2);
        let taken = (0..100).filter(|_| bucket.take(later).is_ok()).count();
        assert!((38..=40).contains(&taken), "two seconds give forty, not {taken}");
    }

    #[test]
    fn what_costs_more_than_the_burst_is_possible_and_is_paid_for() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 20, start);
        assert_eq!(bucket.take_many(15, start), Ok(()));
        assert_eq!(bucket.take_many(15, start), Err(1_000 * MS), "ten are missing");
        let later = start + Duration::from_secs(10);
        assert_eq!(bucket.take_many(50, later), Ok(()), "a full bucket is enough");
        assert_eq!(bucket.take(later), Err(3_100 * MS), "thirty are owed");
        assert!(!bucket.is_full(later + 4_900 * MS) && bucket.is_full(later + 5_000 * MS));
    }

    #[test]
    fn what_is_owed_says_how_long_to_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 20, start);
        assert_eq!(bucket.owe(20, start), Duration::ZERO);
        assert_eq!(bucket.owe(5, start), 500 * MS);
        assert_eq!(bucket.owe(5, start + 500 * MS), 500 * MS);
    }

    #[test]
    fn another_rate_takes_nothing_that_fits() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 20, start);
        bucket.set_rate(5.0, 10.0, start);
        assert_eq!(bucket.take_many(10, start), Ok(()));
        assert_eq!(bucket.take(start), Err(200 * MS));
        bucket.set_rate(10.0, 20.0, start + 200 * MS);
        assert_eq!(bucket.take(start + 200 * MS), Ok(()));
        assert_eq!(bucket.take(start + 200 * MS), Err(100 * MS));
    }

    /// Returns true if a client with this rate is found abusive within `seconds`.
    fn abusive(per_second: u32, seconds: u32) -> bool {
        let start = Instant::now();
        let mut abuse = AbuseDetector::new(20, 3, Duration::from_secs(10), start);
        (0..per_second * seconds).any(|i| abuse.note(start + Duration::from_secs(1) * i / per_second))
    }

    #[test]
    fn triple_rate_for_ten_seconds_is_abuse_and_less_is_not() {
        assert!(abusive(80, 12));
        assert!(!abusive(80, 9));
        assert!(!abusive(50, 60));
    }

    #[test]
    fn a_pause_is_forgiven() {
        let start = Instant::now();
        let mut abuse = AbuseDetector::new(20, 3, Duration::from_secs(10), start);
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
