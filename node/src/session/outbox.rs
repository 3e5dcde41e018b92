//! Step 12: what waits for the client, bounded, and what happens when the client is slower than its conversations.
//!
//! Filled by the session (answers) and, past it, by the [feed](super::feed) (events); drained by the
//! [writer](crate::gateway::websocket::writer), step 13. The step before is the fan-out ([`crate::conversation::fanout`], and [`crate::relay`] on this node).
//!
//! Only events are bounded here. Answers are bounded at their source: the session takes no further command while too
//! many are unanswered or unread. So a client that sends without reading stops itself, and one that is flooded by
//! others is told to resync, and the second time within a while it is disconnected.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::frame;
use crate::config::Limits;

/// The frames that wait for one connection.
#[derive(Debug)]
pub struct Outbox {
    bounds: Bounds,
    queue: VecDeque<Waiting>,
    /// Of the events in the queue.
    events: Fill,
    /// Of the answers in the queue.
    answers: Fill,
    /// Number of the last event.
    n: u64,
    /// The newest ping of the client; only that one needs an answer (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
    ping: bool,
    slow_at: Option<Instant>,
    end: End,
    writer: Option<Waker>,
}

/// When an outbox is full, and how much is written at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events at most.
    pub frames: usize,
    /// Bytes of events at most.
    pub bytes: usize,
    /// A second overflow within this time ends the session.
    pub slow_again: Duration,
    /// Frames in one piece.
    pub piece_frames: usize,
    /// Bytes in one piece.
    pub piece_bytes: usize,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits under this number.
    Queued(u64),
    /// It was ephemeral and the client is slow, or the connection is closing.
    Dropped,
    /// The outbox was full: every event from this number on is gone, and the client was told to resync.
    Resync(u64),
    /// The same, again too soon: close the session.
    TooSlow,
}

/// A piece of output and what was in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes for the socket.
    pub bytes: Bytes,
    /// Frames in them.
    pub frames: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    frames: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// 0: an answer.
    n: u64,
    body: Bytes,
}

#[derive(Debug)]
enum End {
    Open,
    /// After what waits, this close frame.
    Closing(Bytes),
    /// Everything was handed over.
    Ended,
}

// === impl Bounds ===

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds {
            frames: limits.outbox_frames,
            bytes: limits.outbox_bytes,
            slow_again: limits.slow_again_ms.duration(),
            piece_frames: limits.coalesce_frames,
            piece_bytes: limits.coalesce_bytes,
        }
    }
}

// === impl Outbox ===

impl Outbox {
    /// An empty outbox whose first event gets number 1.
    #[must_use]
    pub fn new(bounds: Bounds) -> Outbox {
        Outbox {
            bounds,
            queue: VecDeque::new(),
            events: Fill::default(),
            answers: Fill::default(),
            n: 0,
            pong: None,
            ping: false,
            slow_at: None,
            end: End::Open,
            writer: None,
        }
    }

    /// Number of the last event.
    #[must_use]
    pub fn last_n(&self) -> u64 {
        self.n
    }

    /// Whether the client leaves so much unread that nothing more should be asked for.
    #[must_use]
    pub fn behind(&self) -> bool {
        self.answers.frames * 2 > self.bounds.frames || self.answers.bytes * 2 > self.bounds.bytes
    }

    /// Appends an answer: a whole JSON object.
    pub fn answer(&mut self, body: Bytes) {
        if matches!(self.end, End::Open) {
            self.answers.add(body.len());
            self.queue.push_back(Waiting { n: 0, body });
            self.wake();
        }
    }

    /// Appends an event, given as everything after its number.
    pub fn event(&mut self, tail: &Bytes, now: Instant) -> Pushed {
        if !matches!(self.end, End::Open) {
            return Pushed::Dropped;
        }
        // One event passes whatever its size.
        let over = self.events.bytes + tail.len() > self.bounds.bytes && self.events.frames > 0;
        if over || self.events.frames + 1 > self.bounds.frames {
            return self.overflow(now);
        }
        Pushed::Queued(self.number(tail.clone()))
    }

    /// Appends an event that nobody misses: dropped when the outbox is half full.
    pub fn ephemeral(&mut self, tail: &Bytes) -> Pushed {
        let half = self.events.frames * 2 >= self.bounds.frames || self.events.bytes * 2 >= self.bounds.bytes;
        if half || !matches!(self.end, End::Open) {
            return Pushed::Dropped;
        }
        Pushed::Queued(self.number(tail.clone()))
    }

    /// Answers a ping of the client, at the next opportunity.
    pub fn pong(&mut self, payload: Bytes) {
        self.pong = Some(payload);
        self.wake();
    }

    /// Asks the client whether it is there.
    pub fn ping(&mut self) {
        self.ping = true;
        self.wake();
    }

    /// Ends the output with this close frame. What waits is sent before it, or dropped for a client that doesn't read.
    pub fn close(&mut self, code: Option<u16>, reason: &str, drop_waiting: bool) {
        if matches!(self.end, End::Open) {
            if drop_waiting {
                self.queue.clear();
                (self.events, self.answers) = (Fill::default(), Fill::default());
            }
            self.end = End::Closing(frame::close(code, reason));
            self.wake();
        }
    }

    /// The next piece for the socket; `None` after the close frame.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let mut bytes = BytesMut::new();
        let mut frames = 0;
        if let Some(payload) = self.pong.take() {
            frame::control(&mut bytes, frame::PONG, &payload);
            frames += 1;
        }
        if std::mem::take(&mut self.ping) {
            frame::control(&mut bytes, frame::PING, b"");
            frames += 1;
        }
        while frames < self.bounds.piece_frames as u64 && bytes.len() < self.bounds.piece_bytes {
            let Some(Waiting { n, body }) = self.queue.pop_front() else {
                break;
            };
            if n == 0 {
                self.answers.remove(body.len());
                frame::text(&mut bytes, &body);
            } else {
                self.events.remove(body.len());
                frame::event(&mut bytes, n, &body);
            }
            frames += 1;
        }
        if self.queue.is_empty() {
            if let End::Closing(close) = &self.end {
                bytes.put_slice(close);
                frames += 1;
                self.end = End::Ended;
            } else if matches!(self.end, End::Ended) && bytes.is_empty() {
                return Poll::Ready(None);
            }
        }
        if bytes.is_empty() {
            if self
                .writer
                .as_ref()
                .is_none_or(|writer| !writer.will_wake(cx.waker()))
            {
                self.writer = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(Some(Piece {
            bytes: bytes.freeze(),
            frames,
        }))
    }

    fn number(&mut self, body: Bytes) -> u64 {
        self.n += 1;
        self.events.add(body.len());
        self.queue.push_back(Waiting { n: self.n, body });
        self.wake();
        self.n
    }

    fn overflow(&mut self, now: Instant) -> Pushed {
        if self
            .slow_at
            .is_some_and(|before| now.duration_since(before) < self.bounds.slow_again)
        {
            return Pushed::TooSlow;
        }
        self.slow_at = Some(now);
        let gone_from = self
            .queue
            .iter()
            .find(|waiting| waiting.n != 0)
            .map_or(self.n + 1, |waiting| waiting.n);
        self.queue.retain(|waiting| waiting.n == 0);
        self.events = Fill::default();
        self.number(Bytes::from_static(br#""t":"resync","why":"slow"}"#));
        Pushed::Resync(gone_from)
    }

    fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

// === impl Fill ===

impl Fill {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.frames -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    const BOUNDS: Bounds = Bounds {
        frames: 4,
        bytes: 1000,
        slow_again: Duration::from_secs(30),
        piece_frames: 3,
        piece_bytes: 1000,
    };

    fn tail(text: &str) -> Bytes {
        Bytes::from(format!("\"t\":\"{text}\"}}"))
    }

    /// Takes what is there, with its frames' payloads as one text per frame.
    fn drain(outbox: &mut Outbox) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut texts = Vec::new();
        while let Poll::Ready(Some(piece)) = outbox.poll_piece(&mut cx) {
            let mut rest = &piece.bytes[..];
            while !rest.is_empty() {
                let (start, length) = (2, usize::from(rest[1]));
                texts.push(String::from_utf8_lossy(&rest[start..start + length]).into_owned());
                rest = &rest[start + length..];
            }
        }
        texts
    }

    #[test]
    fn events_are_numbered_and_answers_keep_their_place() {
        let mut outbox = Outbox::new(BOUNDS);
        assert_eq!(outbox.event(&tail("a"), Instant::now()), Pushed::Queued(1));
        outbox.answer(Bytes::from_static(b"{\"t\":\"ok\"}"));
        assert_eq!(outbox.event(&tail("b"), Instant::now()), Pushed::Queued(2));
        assert_eq!(
            drain(&mut outbox),
            [r#"{"n":1,"t":"a"}"#, r#"{"t":"ok"}"#, r#"{"n":2,"t":"b"}"#]
        );
    }

    #[test]
    fn a_piece_has_an_end() {
        let mut outbox = Outbox::new(BOUNDS);
        for _ in 0..4 {
            outbox.answer(Bytes::from_static(b"{}"));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(piece)) = outbox.poll_piece(&mut cx) else {
            panic!("a piece was ready")
        };
        assert_eq!(piece.frames, 3);
    }

    #[test]
    fn a_full_outbox_drops_its_events_keeps_its_answers_and_says_resync() {
        let now = Instant::now();
        let mut outbox = Outbox::new(BOUNDS);
        outbox.answer(Bytes::from_static(b"{\"t\":\"ok\"}"));
        for n in 1..=4 {
            assert_eq!(outbox.event(&tail("a"), now), Pushed::Queued(n));
        }
        assert_eq!(outbox.event(&tail("a"), now), Pushed::Resync(1));
        assert_eq!(outbox.event(&tail("b"), now), Pushed::Queued(6));
        let expected = [
            r#"{"t":"ok"}"#,
            r#"{"n":5,"t":"resync","why":"slow"}"#,
            r#"{"n":6,"t":"b"}"#,
        ];
        assert_eq!(drain(&mut outbox), expected);
    }

    #[test]
    fn the_second_overflow_ends_the_session_unless_it_is_long_after_the_first() {
        let mut now = Instant::now();
        let mut outbox = Outbox::new(BOUNDS);
        let fill = |outbox: &mut Outbox, now| (0..4).map(|_| outbox.event(&tail("a"), now)).last();
        fill(&mut outbox, now);
        assert_eq!(outbox.event(&tail("a"), now), Pushed::Resync(1));
        now += Duration::from_secs(31);
        drain(&mut outbox);
        fill(&mut outbox, now);
        assert_eq!(outbox.event(&tail("a"), now), Pushed::Resync(6));
        fill(&mut outbox, now);
        assert_eq!(outbox.event(&tail("a"), now), Pushed::TooSlow);
    }

    #[test]
    fn ephemeral_events_go_first() {
        let mut outbox = Outbox::new(BOUNDS);
        assert_eq!(outbox.ephemeral(&tail("typing")), Pushed::Queued(1));
        assert_eq!(outbox.event(&tail("a"), Instant::now()), Pushed::Queued(2));
        assert_eq!(outbox.ephemeral(&tail("typing")), Pushed::Dropped);
        assert_eq!(outbox.event(&tail("a"), Instant::now()), Pushed::Queued(3));
    }

    #[test]
    fn only_the_newest_ping_is_answered() {
        let mut outbox = Outbox::new(BOUNDS);
        outbox.pong(Bytes::from_static(b"1"));
        outbox.pong(Bytes::from_static(b"2"));
        assert_eq!(drain(&mut outbox), ["2"]);
    }

    #[test]
    fn nothing_follows_the_close_frame() {
        let mut outbox = Outbox::new(BOUNDS);
        outbox.answer(Bytes::from_static(b"{}"));
        outbox.close(Some(4012), "{}", false);
        outbox.answer(Bytes::from_static(b"{}"));
        assert_eq!(outbox.event(&tail("a"), Instant::now()), Pushed::Dropped);
        assert_eq!(drain(&mut outbox), ["{}", "\u{f}\u{fffd}{}"]);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(outbox.poll_piece(&mut cx), Poll::Ready(None));
    }
}
