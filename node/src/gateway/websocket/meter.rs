//! Counts what a connection brings, whatever it is: frames that ask for nothing end a connection that brings too many of
//! them, and messages that ask for something are read no faster than the rates of a user could ever be used. Pure: time is
//! an argument.
//!
//! What a message asks for is counted by the session, per user. This is what the session never sees, and what comes before
//! it is known whose session it is.

use std::time::{Duration, Instant};

use super::frame_guard::{Header, Kind, Violation};
use crate::config::Limits;
use crate::session::rate_limit::Bucket;

/// A fragment that is shorter counts as a frame that asks for nothing: a message in such pieces costs more to put
/// together than to read.
const SMALL: usize = 1_024;
/// Bytes of a message that count as another one.
const MESSAGE_BYTES: usize = 4_096;
/// Seconds of the rate that may come at once.
const BURST_S: u32 = 10;

/// What one connection may bring.
#[derive(Debug)]
pub(super) struct Meter {
    /// Control frames, small fragments, and messages that are ignored.
    idle: Bucket,
    /// Messages.
    messages: Bucket,
    wait: Duration,
}

// === impl Meter ===

impl Meter {
    pub(super) fn new(limits: &Limits, now: Instant) -> Meter {
        let idle = limits.control_frames_per_s;
        // Twice what counts as abuse: so that abuse is seen as such, and costs little until then.
        let factor = limits.abuse_factor.saturating_mul(2);
        let all = |changes: u32, questions: u32| changes.saturating_add(questions).saturating_mul(factor);
        Meter {
            idle: Bucket::new(idle, idle.saturating_mul(BURST_S), now),
            messages: Bucket::new(
                all(limits.sends_per_s, limits.queries_per_s),
                all(limits.burst, limits.query_burst),
                now,
            ),
            wait: Duration::ZERO,
        }
    }

    /// A whole frame has come.
    ///
    /// # Errors
    /// When too many ask for nothing.
    pub(super) fn frame(&mut self, header: &Header, payload: usize, now: Instant) -> Result<(), Violation> {
        let idle = match header.kind {
            Kind::Ping | Kind::Pong | Kind::Close => true,
            Kind::Text | Kind::Continuation => payload == 0 || (!header.last && payload < SMALL),
        };
        if idle { self.idle(1, now) } else { Ok(()) }
    }

    /// A message of so many bytes is ignored.
    ///
    /// # Errors
    /// When too many are.
    pub(super) fn ignored(&mut self, bytes: usize, now: Instant) -> Result<(), Violation> {
        self.idle(1 + bytes / SMALL, now)
    }

    /// A message of so many bytes asks for something.
    pub(super) fn message(&mut self, bytes: usize, now: Instant) {
        let tokens = u32::try_from(1 + bytes / MESSAGE_BYTES).unwrap_or(u32::MAX);
        self.wait = self.messages.owe(tokens, now);
    }

    /// Returns how long not to read on.
    pub(super) fn take_wait(&mut self) -> Duration {
        std::mem::take(&mut self.wait)
    }

    fn idle(&mut self, tokens: usize, now: Instant) -> Result<(), Violation> {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.idle.take_many(tokens, now).map_err(|_| Violation::Flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, last: bool) -> Header {
        Header { kind, last, total: 0 }
    }

    #[test]
    fn what_asks_for_nothing_has_a_rate_and_large_fragments_are_no_such_thing() {
        let now = Instant::now();
        let limits = Limits {
            control_frames_per_s: 10,
            ..Limits::default()
        };
        for (kind, last, payload, counts) in [
            (Kind::Ping, true, 5, true),
            (Kind::Pong, true, 0, true),
            (Kind::Text, true, 0, true),
            (Kind::Text, true, 1, false),
            (Kind::Text, false, 1, true),
            (Kind::Continuation, false, 1_023, true),
            (Kind::Continuation, false, 1_024, false),
            (Kind::Continuation, true, 1, false),
        ] {
            let mut meter = Meter::new(&limits, now);
            let passed = (0..1_000).filter(|_| meter.frame(&header(kind, last), payload, now).is_ok());
            assert_eq!(
                passed.count(),
                if counts { 100 } else { 1_000 },
                "{kind:?} {payload}"
            );
        }
        let mut meter = Meter::new(&limits, now);
        let passed = (0..100).filter(|_| meter.ignored(60_000, now).is_ok());
        assert_eq!(passed.count(), 1, "58 KiB are 59 of a hundred");
    }

    #[test]
    fn messages_are_read_no_faster_than_they_could_be_used() {
        let now = Instant::now();
        let mut meter = Meter::new(&Limits::default(), now);
        for _ in 0..1_560 {
            meter.message(100, now);
        }
        assert_eq!(meter.take_wait(), Duration::ZERO, "a burst six times over");
        for _ in 0..420 {
            meter.message(100, now);
        }
        assert_eq!(meter.take_wait(), Duration::from_secs(1), "and 420 a second");
        meter.message(65_536, now + Duration::from_secs(1));
        assert_eq!(meter.take_wait(), Duration::from_secs_f64(17.0 / 420.0));
    }
}
