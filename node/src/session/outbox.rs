//! Step 12: what waits for the client, bounded, and what happens when the client is slower than its conversations.
//!
//! Filled by the session (answers) and, past it, by the [feed](super::feed) (events); drained by the connection's
//! writer, such as that of the [WebSocket](crate::gateway::websocket::writer), step 13, which also says what a frame looks like
//! ([`Framing`]). The step before is the fan-out ([`crate::conversation::fanout`], and [`crate::relay`] on this node).
//!
//! Only events are bounded here. Answers are bounded at their source: the session takes no further command while too
//! many are unanswered or unread. So a client that sends without reading stops itself, and one that is flooded by
//! others is told to resync, and the second time within a while it is disconnected.
//!
//! Every event is also kept in the [ring](super::ring), and only there while nobody is connected.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::ring::{Capacity, Gap, Kept, Ring};
use crate::config::Limits;

/// The frames that wait for one connection, and the events that its client has not confirmed.
#[derive(Debug)]
pub struct Outbox {
    bounds: Bounds,
    ring: Ring,
    queue: VecDeque<Waiting>,
    /// Of the live events in the queue.
    events: Fill,
    /// Of the answers in the queue.
    answers: Fill,
    /// Number of the last event that went out.
    sent: u64,
    /// The newest ping of the client; only that one needs an answer (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
    ping: bool,
    slow_at: Option<Instant>,
    /// The second overflow: until the session closes the connection, events go to the ring alone.
    too_slow: bool,
    end: End,
    /// No connection ever drains it: the client fetches.
    fetched: bool,
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
    /// Events that are kept until the client confirms them.
    pub ring: Capacity,
}

/// How a transport writes what waits. Nothing to write is nothing appended.
pub trait Framing {
    /// Appends an answer, which is a whole JSON object.
    fn answer(&self, out: &mut BytesMut, body: &[u8]);
    /// Appends an event, given as everything after its number.
    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]);
    /// Appends something that shows a connection to be alive.
    fn ping(&self, out: &mut BytesMut);
    /// Appends the answer to a ping of the client.
    fn pong(&self, out: &mut BytesMut, payload: &[u8]);
    /// Appends the last words: the close code, if there is one, and the reason.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str);
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It has this number, and waits for the client if there is one.
    Queued(u64),
    /// It was ephemeral, and the client is slow or gone.
    Dropped,
    /// The outbox was full: every event from this number on is gone, and the client was told to resync.
    Resync(u64),
    /// The same, again too soon: close the session.
    TooSlow,
    /// Nobody is connected, and an event that nobody has seen had to leave the ring: the session can't be resumed.
    Lost,
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
enum Waiting {
    Answer(Bytes),
    Event {
        n: u64,
        tail: Bytes,
        /// Not one that the client missed before: it counts against the bounds.
        live: bool,
    },
}

#[derive(Debug)]
enum End {
    /// Somebody is connected.
    Open,
    /// After what waits, this close code and reason.
    Closing(Option<u16>, String),
    /// Nobody is connected, or everything was handed over.
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
            ring: Capacity {
                events: limits.ring_events,
                bytes: limits.ring_bytes,
            },
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
            ring: Ring::new(bounds.ring, 0),
            queue: VecDeque::new(),
            events: Fill::default(),
            answers: Fill::default(),
            sent: 0,
            pong: None,
            ping: false,
            slow_at: None,
            too_slow: false,
            end: End::Open,
            fetched: false,
            writer: None,
        }
    }

    /// An outbox that no connection drains: its events are fetched from the ring.
    #[must_use]
    pub fn unconnected(bounds: Bounds) -> Outbox {
        Outbox {
            end: End::Ended,
            fetched: true,
            ..Outbox::new(bounds)
        }
    }

    /// Number of the last event.
    #[must_use]
    pub fn last_n(&self) -> u64 {
        self.ring.last()
    }

    /// Whether so much is unread that the session should take up no further command.
    #[must_use]
    pub fn behind(&self) -> bool {
        self.answers.frames >= self.bounds.frames || self.answers.bytes >= self.bounds.bytes
    }

    /// Appends an answer, in its place among the events.
    pub fn answer(&mut self, body: Bytes) {
        if matches!(self.end, End::Open) {
            self.answers.add(body.len());
            self.queue.push_back(Waiting::Answer(body));
            self.wake();
        }
    }

    /// Appends an event.
    pub fn event(&mut self, event: Kept, now: Instant) -> Pushed {
        let open = matches!(self.end, End::Open);
        // One event passes whatever its size.
        let over = self.events.bytes + event.tail.len() > self.bounds.bytes && self.events.frames > 0;
        if open && (self.too_slow || over || self.events.frames + 1 > self.bounds.frames) {
            return self.overflow(event, now);
        }
        let n = self.number(event, true);
        if !open && self.ring.floor() > self.sent {
            return Pushed::Lost;
        }
        Pushed::Queued(n)
    }

    /// Appends an event that nobody misses: dropped when the outbox is half full. One that `lasts` is still worth
    /// knowing when the client comes back.
    pub fn ephemeral(&mut self, tail: Bytes, lasts: bool) -> Pushed {
        let half = self.events.frames * 2 >= self.bounds.frames || self.events.bytes * 2 >= self.bounds.bytes;
        let room = match self.end {
            End::Open => !half && !self.too_slow,
            End::Closing(..) | End::Ended => (lasts || self.fetched) && !self.ring.half_full(),
        };
        if room {
            Pushed::Queued(self.number(Kept { tail, covers: None }, true))
        } else {
            Pushed::Dropped
        }
    }

    /// Appends an event that the client missed while it was away. Not bounded here: what comes from a ring is bounded
    /// by that ring, and who reads more from a log waits while [`crowded`](Self::crowded).
    pub fn replay(&mut self, event: Kept) -> u64 {
        self.number(event, false)
    }

    /// Whether the client has more to read than it should before more is fetched for it.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.queue.len() * 2 >= self.bounds.frames
    }

    /// The numbering goes on behind `n`, up to which the client has everything.
    pub fn start_at(&mut self, n: u64) {
        self.ring = Ring::new(self.bounds.ring, n);
        self.sent = n;
    }

    /// The client has applied everything up to `n`.
    pub fn confirm(&mut self, n: u64) {
        self.ring.confirm(n);
        self.sent = self.sent.max(n.min(self.ring.last()));
    }

    /// The events behind `n`, with their numbers.
    ///
    /// # Errors
    /// [`Gap`] when some of them are gone, or `n` was never reached.
    pub fn after(&self, n: u64) -> Result<impl Iterator<Item = (u64, &Kept)>, Gap> {
        self.ring.after(n)
    }

    /// Bytes of the events that are kept, if no connection drains them.
    #[must_use]
    pub fn waits_alone(&self) -> Option<usize> {
        (!matches!(self.end, End::Open)).then(|| self.ring.bytes())
    }

    /// Bytes of the events that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Whether nobody is connected and an event that nobody has seen is gone.
    #[must_use]
    pub fn lost(&self) -> bool {
        !matches!(self.end, End::Open) && self.ring.floor() > self.sent
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

    /// Ends the output with this code and reason. What waits is sent before it, or dropped for a client that doesn't
    /// read. Events go to the ring alone from now on.
    pub fn close(&mut self, code: Option<u16>, reason: &str, drop_waiting: bool) {
        if matches!(self.end, End::Open) {
            if drop_waiting {
                self.queue.clear();
                (self.events, self.answers) = (Fill::default(), Fill::default());
            }
            self.end = End::Closing(code, reason.to_owned());
            self.wake();
        }
    }

    /// The connection is gone: what waits in the queue waits in vain.
    pub fn disconnected(&mut self) {
        self.queue.clear();
        (self.events, self.answers) = (Fill::default(), Fill::default());
        self.end = End::Ended;
        self.wake();
    }

    /// As many of the events behind `n` as go into one piece, with their numbers.
    #[must_use]
    pub fn piece_after(&self, n: u64) -> Vec<(u64, Bytes)> {
        let mut bytes = 0;
        let Ok(events) = self.ring.after(n) else {
            return Vec::new();
        };
        let piece = events.take(self.bounds.piece_frames).take_while(|(_, kept)| {
            let fits = bytes < self.bounds.piece_bytes;
            bytes += kept.tail.len();
            fits
        });
        piece.map(|(n, kept)| (n, kept.tail.clone())).collect()
    }

    /// Wakes who watches.
    pub fn rouse(&mut self) {
        self.wake();
    }

    /// Has `cx` woken at the next event.
    pub fn watch(&mut self, cx: &Context<'_>) {
        if self
            .writer
            .as_ref()
            .is_none_or(|writer| !writer.will_wake(cx.waker()))
        {
            self.writer = Some(cx.waker().clone());
        }
    }

    /// The next piece for the socket; `None` after the close frame.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, framing: &dyn Framing) -> Poll<Option<Piece>> {
        let mut bytes = BytesMut::new();
        let mut frames = 0;
        if let Some(payload) = self.pong.take() {
            framing.pong(&mut bytes, &payload);
            frames += 1;
        }
        if std::mem::take(&mut self.ping) {
            framing.ping(&mut bytes);
            frames += 1;
        }
        while frames < self.bounds.piece_frames as u64 && bytes.len() < self.bounds.piece_bytes {
            match self.queue.pop_front() {
                Some(Waiting::Answer(body)) => {
                    self.answers.remove(body.len());
                    framing.answer(&mut bytes, &body);
                }
                Some(Waiting::Event { n, tail, live }) => {
                    if live {
                        self.events.remove(tail.len());
                    }
                    self.sent = n;
                    framing.event(&mut bytes, n, &tail);
                }
                None => break,
            }
            frames += 1;
        }
        if self.queue.is_empty() {
            if let End::Closing(code, reason) = &self.end {
                framing.close(&mut bytes, *code, reason);
                frames += 1;
                self.end = End::Ended;
            } else if matches!(self.end, End::Ended) && bytes.is_empty() {
                return Poll::Ready(None);
            }
        }
        if bytes.is_empty() {
            self.watch(cx);
            return Poll::Pending;
        }
        Poll::Ready(Some(Piece {
            bytes: bytes.freeze(),
            frames,
        }))
    }

    fn number(&mut self, event: Kept, live: bool) -> u64 {
        let tail = event.tail.clone();
        let n = self.ring.push(event);
        if matches!(self.end, End::Open) {
            if live {
                self.events.add(tail.len());
            }
            self.queue.push_back(Waiting::Event { n, tail, live });
        }
        self.wake();
        n
    }

    fn overflow(&mut self, event: Kept, now: Instant) -> Pushed {
        let again = |before| now.duration_since(before) < self.bounds.slow_again;
        if self.too_slow || self.slow_at.is_some_and(again) {
            // The client comes back and resumes: nothing may be missing then.
            self.too_slow = true;
            self.ring.push(event);
            return Pushed::TooSlow;
        }
        self.slow_at = Some(now);
        let waits = self.queue.iter().find_map(|waiting| match waiting {
            Waiting::Event { n, .. } => Some(*n),
            Waiting::Answer(_) => None,
        });
        let gone_from = waits.unwrap_or(self.ring.last() + 1);
        self.queue.retain(|waiting| matches!(waiting, Waiting::Answer(_)));
        self.events = Fill::default();
        let tail = Bytes::from_static(br#""t":"resync","why":"slow"}"#);
        self.number(Kept { tail, covers: None }, true);
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
mod tests;
