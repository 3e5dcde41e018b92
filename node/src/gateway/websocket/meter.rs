//! Inbound limits of one connection, independent of the user.
//!
//! Frames without a request (control frames, small fragments, ignored messages) close a connection that sends too many.
//! Messages with a request are read no faster than twice the abuse threshold of a user.
//!
//! Pure but for [`Meter::wait`]: time is an argument. Requests are counted per user by the session; this covers frames that the session never
//! receives, and the time before authentication.

use std::time::{Duration, Instant};

use super::frame_guard::{FrameHeader, FrameViolation, WebSocketOpcode};
use super::handler::SessionOver;
use crate::config::Config;
use crate::session::{ConnectionHandle, TokenBucket};

/// Size below which a fragment counts as idle frame: assembling a message from such pieces costs more than reading it.
const SMALL: usize = 1_024;
/// Bytes of a message that count as another message.
const MESSAGE_BYTES: usize = 4_096;
/// Burst of idle frames, in seconds of their rate.
const BURST_S: u32 = 10;

/// Limits of one connection.
#[derive(Debug)]
pub(in crate::gateway) struct Meter {
    /// Bucket for control frames, small fragments and ignored messages.
    idle: TokenBucket,
    /// Bucket for messages with a request.
    messages: TokenBucket,
    wait: Duration,
}

// === impl Meter ===

impl Meter {
    pub(in crate::gateway) fn new(config: &Config, now: Instant) -> Meter {
        let (limits, idle) = (&config.limits, config.tuning.control_frames_per_second);
        // Twice the abuse factor: the session must still receive enough to detect the abuse and close with 4208.
        let factor = config.tuning.abuse_factor.saturating_mul(2);
        let all = |changes: u32, questions: u32| changes.saturating_add(questions).saturating_mul(factor);
        Meter {
            idle: TokenBucket::new(idle, idle.saturating_mul(BURST_S), now),
            messages: TokenBucket::new(
                all(limits.sends_per_second, limits.queries_per_second),
                all(config.sends_burst(), config.queries_burst()),
                now,
            ),
            wait: Duration::ZERO,
        }
    }

    /// Counts a complete frame.
    ///
    /// # Errors
    /// [`FrameViolation::Flood`] if too many idle frames arrived.
    pub(in crate::gateway) fn frame(
        &mut self,
        header: &FrameHeader,
        payload: usize,
        now: Instant,
    ) -> Result<(), FrameViolation> {
        let idle = match header.kind {
            WebSocketOpcode::Ping | WebSocketOpcode::Pong | WebSocketOpcode::Close => true,
            WebSocketOpcode::Text | WebSocketOpcode::Binary | WebSocketOpcode::Continuation => {
                payload == 0 || (!header.last && payload < SMALL)
            }
        };
        if idle { self.idle(1, now) } else { Ok(()) }
    }

    /// Counts an ignored message of `bytes` bytes.
    ///
    /// # Errors
    /// [`FrameViolation::Flood`] if too many idle frames arrived.
    pub(in crate::gateway) fn ignored(&mut self, bytes: usize, now: Instant) -> Result<(), FrameViolation> {
        self.idle(1 + bytes / SMALL, now)
    }

    /// Counts a message with a request. Above the rate, the delay before the next read grows.
    pub(in crate::gateway) fn message(&mut self, bytes: usize, now: Instant) {
        let tokens = u32::try_from(1 + bytes / MESSAGE_BYTES).unwrap_or(u32::MAX);
        // The message itself is processed in any case; the debt delays the next read.
        self.wait = self.messages.owe(tokens, now);
    }

    /// Waits as long as the meter demands before the next read.
    ///
    /// # Errors
    /// [`SessionOver`] if the session ends meanwhile.
    pub(in crate::gateway) async fn wait(&mut self, link: &ConnectionHandle) -> Result<(), SessionOver> {
        let wait = self.take_wait();
        if wait.is_zero() {
            return Ok(());
        }
        // Without the race, the reader would outlive its session.
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = link.closing() => Err(SessionOver),
        }
    }

    /// Returns how long not to read on.
    pub(in crate::gateway) fn take_wait(&mut self) -> Duration {
        std::mem::take(&mut self.wait)
    }

    fn idle(&mut self, tokens: usize, now: Instant) -> Result<(), FrameViolation> {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.idle
            .take_many(tokens, now)
            .map_err(|_| FrameViolation::Flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: WebSocketOpcode, last: bool) -> FrameHeader {
        FrameHeader { kind, last, total: 0 }
    }

    #[test]
    fn empty_frames_are_rate_limited_and_large_fragments_are_not() {
        let now = Instant::now();
        let mut config = Config::default();
        config.tuning.control_frames_per_second = 10;
        for (kind, last, payload, counts) in [
            (WebSocketOpcode::Ping, true, 5, true),
            (WebSocketOpcode::Pong, true, 0, true),
            (WebSocketOpcode::Text, true, 0, true),
            (WebSocketOpcode::Text, true, 1, false),
            (WebSocketOpcode::Text, false, 1, true),
            (WebSocketOpcode::Continuation, false, 1_023, true),
            (WebSocketOpcode::Continuation, false, 1_024, false),
            (WebSocketOpcode::Continuation, true, 1, false),
        ] {
            let mut meter = Meter::new(&config, now);
            let passed = (0..1_000).filter(|_| meter.frame(&header(kind, last), payload, now).is_ok());
            assert_eq!(
                passed.count(),
                if counts { 100 } else { 1_000 },
                "{kind:?} {payload}"
            );
        }
        let mut meter = Meter::new(&config, now);
        let passed = (0..100).filter(|_| meter.ignored(60_000, now).is_ok());
        assert_eq!(passed.count(), 1, "58 KiB are 59 of a hundred");
    }

    #[test]
    fn messages_are_read_no_faster_than_they_could_be_used() {
        let now = Instant::now();
        let mut meter = Meter::new(&Config::default(), now);
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
