//! Bounded outbound queue of one connection, with the rules for a client that is slower than its
//! conversations.
//!
//! Spine: step 12 of 13. Previous: `node: subscription/hub/deliver`. Next: `node: gateway/websocket/writer`.
//!
//! Queue: live events, bounded by `limits.outbound_queue_size` in bytes and one frame for each KiB of it. An overflow
//! means `resync`; a second one within 30 s closes the connection (4010). Metrics: `session_resyncs`,
//! `events_dropped`.
//!
//! Filled by the session (responses) and, bypassing it, by the `subscriber` (events). Drained by the connection's
//! writer, such as that of the WebSocket (`gateway::websocket::writer`), which also implements
//! [`Framing`].
//!
//! Only events are bounded here. Responses are bounded at their source: the session dispatches no further command while
//! too many are unanswered or unread. So a client that sends without reading blocks itself. A client that is flooded by
//! others gets `resync`, and is disconnected at a second overflow within `slow_again`.
//!
//! Every event is also stored in the replay buffer, and only there while the session is detached.

mod frame_queue;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use self::frame_queue::{FrameQueue, QueuedFrame};
use super::framing::{Framing, WriteChunk};
use super::queue_bounds::QueueBounds;
use super::replay_buffer::{BufferedEvent, Gap, ReplayBuffer};

/// Maximum number of unanswered pings of the client.
const PONGS: usize = 16;

/// Frames queued for one connection, and the events that its client has not confirmed.
#[derive(Debug)]
pub struct OutboundQueue {
    bounds: QueueBounds,
    ring: ReplayBuffer,
    queue: FrameQueue,
    /// Number of the last event passed to the writer or confirmed by the client.
    sent: u64,
    /// Payloads of the client's newest pings, which are unanswered. Older ones need no answer (RFC 6455 §5.5.3).
    pongs: VecDeque<Bytes>,
    ping: bool,
    slow_at: Option<Instant>,
    /// Set by the second overflow: until the session closes the connection, events go to the replay buffer only.
    too_slow: bool,
    end: CloseState,
    /// True if no connection ever drains the queue, because the client polls.
    fetched: bool,
    /// True if responses are dropped, because the writer has ended.
    unread: bool,
    writer: Option<Waker>,
}

/// Result of appending an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// The event has this number. It is queued, or only buffered while detached.
    Queued(u64),
    /// Ephemeral event, dropped because the client is slow or detached.
    Dropped,
    /// The queue was full: every event from this number on was removed from it, and `resync` was appended.
    Resync(u64),
    /// Second overflow within `slow_again`: the session has to close the connection.
    TooSlow,
    /// The session is detached, and an event that was never delivered was evicted: it cannot be resumed.
    Lost,
}

#[derive(Debug)]
enum CloseState {
    Open,
    /// The queue is written first, then this close code and reason.
    Closing(Option<u16>, String),
    /// No client is connected, or everything was written.
    Ended,
}

// === impl OutboundQueue ===

impl OutboundQueue {
    /// Creates an empty queue whose first event gets number 1.
    #[must_use]
    pub fn new(bounds: QueueBounds) -> OutboundQueue {
        OutboundQueue {
            bounds,
            ring: ReplayBuffer::new(bounds.ring, 0),
            queue: FrameQueue::default(),
            sent: 0,
            pongs: VecDeque::new(),
            ping: false,
            slow_at: None,
            too_slow: false,
            end: CloseState::Open,
            fetched: false,
            unread: false,
            writer: None,
        }
    }

    /// Creates a queue that no connection drains; its events are read from the replay buffer.
    #[must_use]
    pub fn unconnected(bounds: QueueBounds) -> OutboundQueue {
        OutboundQueue {
            end: CloseState::Ended,
            fetched: true,
            ..OutboundQueue::new(bounds)
        }
    }

    /// Number of the last event.
    #[must_use]
    pub fn last_n(&self) -> u64 {
        self.ring.last()
    }

    /// Number of the last event passed to the writer or confirmed by the client.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Number of the last event that was confirmed or evicted; only what follows it can be replayed.
    #[must_use]
    pub(in crate::session) fn floor(&self) -> u64 {
        self.ring.floor()
    }

    /// Returns true if so many responses are unread that the session should dispatch no further command.
    #[must_use]
    pub fn behind(&self) -> bool {
        let answers = self.queue.answers();
        answers.frames >= self.bounds.frames || answers.bytes >= self.bounds.bytes
    }

    /// Appends a response behind the events queued so far. Dropped if the connection is closing.
    pub fn answer(&mut self, body: Bytes) {
        if matches!(self.end, CloseState::Open) && !self.unread {
            self.queue.push_answer(body);
            self.wake();
        }
    }

    /// Drops the queued responses, and all later ones: the writer has ended.
    pub fn discard_answers(&mut self) {
        self.unread = true;
        self.queue.clear_answers();
    }

    /// Appends an event that must not be dropped silently.
    pub fn event(&mut self, event: BufferedEvent, now: Instant) -> PushResult {
        let open = matches!(self.end, CloseState::Open);
        // A single event passes whatever its size: otherwise a large one could never be delivered.
        let queued = self.queue.events();
        let over = queued.bytes + event.tail.len() > self.bounds.bytes && queued.frames > 0;
        if open && (self.too_slow || over || queued.frames + 1 > self.bounds.frames) {
            return self.overflow(event, now);
        }
        let n = self.number(event, true);
        // The replay buffer evicted an event that no client has received.
        if !open && self.ring.floor() > self.sent {
            return PushResult::Lost;
        }
        PushResult::Queued(n)
    }

    /// Appends an event that may be lost: it is dropped once the queue is half full. With `lasts` it is also buffered
    /// while detached.
    pub fn ephemeral(&mut self, tail: Bytes, lasts: bool) -> PushResult {
        let queued = self.queue.events();
        let half = queued.frames * 2 >= self.bounds.frames || queued.bytes * 2 >= self.bounds.bytes;
        let room = match self.end {
            CloseState::Open => !half && !self.too_slow,
            // Half of the replay buffer stays reserved for events that must not be lost.
            CloseState::Closing(..) | CloseState::Ended => (lasts || self.fetched) && !self.ring.half_full(),
        };
        if room {
            PushResult::Queued(self.number(BufferedEvent { tail, covers: None }, true))
        } else {
            PushResult::Dropped
        }
    }

    /// Appends an event that the client missed while detached. Not bounded here: a replay buffer bounds its own events,
    /// and catch-up from the log pauses while the queue is above half.
    pub fn replay(&mut self, event: BufferedEvent) -> u64 {
        self.number(event, false)
    }

    /// Returns true if the queue holds at least half of its maximum of frames; catch-up pauses meanwhile.
    #[must_use]
    pub fn is_above_half(&self) -> bool {
        self.queue.len() * 2 >= self.bounds.frames
    }

    /// Restarts the numbering behind `n`, the last event that the client has.
    pub fn start_at(&mut self, n: u64) {
        self.ring = ReplayBuffer::new(self.bounds.ring, n);
        self.sent = n;
    }

    /// Removes the events up to `n`, which the client has applied.
    pub fn confirm(&mut self, n: u64) {
        self.ring.confirm(n);
        // Clamped: a confirmation of numbers never sent must not hide a later loss.
        self.sent = self.sent.max(n.min(self.ring.last()));
    }

    /// Returns the events behind `n`, with their numbers.
    ///
    /// # Errors
    /// [`Gap`] if some of them were removed, or `n` was never reached.
    pub fn after(&self, n: u64) -> Result<impl Iterator<Item = (u64, &BufferedEvent)>, Gap> {
        self.ring.after(n)
    }

    /// Bytes of the buffered events; `None` while a connection drains the queue.
    #[must_use]
    pub fn waits_alone(&self) -> Option<usize> {
        (!matches!(self.end, CloseState::Open)).then(|| self.ring.bytes())
    }

    /// Bytes of the buffered events.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Returns true if no client is connected and an undelivered event was evicted.
    #[must_use]
    pub fn lost(&self) -> bool {
        !matches!(self.end, CloseState::Open) && self.ring.floor() > self.sent
    }

    /// Queues the response to a ping of the client. Beyond a small number, it replaces the oldest one.
    pub fn pong(&mut self, payload: Bytes) {
        if self.pongs.len() >= PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
        self.wake();
    }

    /// Queues a ping to the client.
    pub fn ping(&mut self) {
        self.ping = true;
        self.wake();
    }

    /// Ends the output with this code and reason. Queued frames are written first, or dropped for a client that does
    /// not read. From now on events go to the replay buffer only.
    pub fn close(&mut self, code: Option<u16>, reason: &str, drop_waiting: bool) {
        if matches!(self.end, CloseState::Open) {
            if drop_waiting {
                self.queue.clear();
            }
            self.end = CloseState::Closing(code, reason.to_owned());
            self.wake();
        }
    }

    /// Drops the queue of a lost connection.
    #[cfg(any(test, feature = "testkit"))]
    pub fn disconnected(&mut self) {
        self.queue.clear();
        self.end = CloseState::Ended;
        self.wake();
    }

    /// Returns as many of the events behind `n` as fit into one write, with their numbers. Empty if some of them were
    /// removed.
    #[must_use]
    pub fn piece_after(&self, n: u64) -> Vec<(u64, Bytes)> {
        let mut bytes = 0;
        let Ok(events) = self.ring.after(n) else {
            return Vec::new();
        };
        let piece = events.take(self.bounds.piece_frames).take_while(|(_, buffered)| {
            let fits = bytes < self.bounds.piece_bytes;
            bytes += buffered.tail.len();
            fits
        });
        piece.map(|(n, buffered)| (n, buffered.tail.clone())).collect()
    }

    /// Registers `cx` to be woken at the next output.
    pub fn watch(&mut self, cx: &Context<'_>) {
        if self
            .writer
            .as_ref()
            .is_none_or(|writer| !writer.will_wake(cx.waker()))
        {
            self.writer = Some(cx.waker().clone());
        }
    }

    /// Returns the next chunk for the socket; `None` after the close frame.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, framing: &dyn Framing) -> Poll<Option<WriteChunk>> {
        let mut bytes = BytesMut::new();
        let mut frames = 0;
        // Control frames first: behind a long queue they would be too late to keep the connection alive.
        for payload in std::mem::take(&mut self.pongs) {
            framing.pong(&mut bytes, &payload);
            frames += 1;
        }
        if std::mem::take(&mut self.ping) {
            framing.ping(&mut bytes, self.sent);
            frames += 1;
        }
        // A frame may have no bytes, as an event without a subscription. A piece without any would not be written, and
        // nothing would poll for the rest of the queue.
        while bytes.is_empty()
            || (frames < self.bounds.piece_frames as u64 && bytes.len() < self.bounds.piece_bytes)
        {
            match self.queue.pop(framing.takes_event()) {
                Some(QueuedFrame::Response(body)) => framing.answer(&mut bytes, &body),
                Some(QueuedFrame::Event { n, tail, .. }) => {
                    self.sent = n;
                    framing.event(&mut bytes, n, &tail);
                }
                None => break,
            }
            frames += 1;
        }
        if self.is_drained(framing.takes_event()) {
            if let CloseState::Closing(code, reason) = &self.end {
                // Events that the framing still withholds stay in the replay buffer for a resume.
                self.queue.clear();
                framing.close(&mut bytes, *code, reason);
                frames += 1;
                self.end = CloseState::Ended;
            }
            // At once where the framing writes no end, as in MQTT 3.1.1: nothing would poll again.
            if matches!(self.end, CloseState::Ended) && bytes.is_empty() {
                return Poll::Ready(None);
            }
        }
        if bytes.is_empty() {
            self.watch(cx);
            return Poll::Pending;
        }
        Poll::Ready(Some(WriteChunk {
            bytes: bytes.freeze(),
            frames,
        }))
    }

    /// Returns true if nothing is left to write, except for withheld events of a connection that is closing.
    fn is_drained(&self, takes_event: bool) -> bool {
        let withholds = matches!(self.end, CloseState::Closing(..)) && !takes_event;
        self.queue.is_empty() || (withholds && self.queue.answers().frames == 0)
    }

    fn number(&mut self, event: BufferedEvent, live: bool) -> u64 {
        let tail = event.tail.clone();
        let n = self.ring.push(event);
        // Without a connection the event is in the replay buffer only.
        if matches!(self.end, CloseState::Open) {
            self.queue.push_event(n, tail, live);
        }
        self.wake();
        n
    }

    fn overflow(&mut self, event: BufferedEvent, now: Instant) -> PushResult {
        let again = |before| now.duration_since(before) < self.bounds.slow_again;
        if self.too_slow || self.slow_at.is_some_and(again) {
            // Kept for the resume that follows the disconnection: it must not have a gap.
            self.too_slow = true;
            self.ring.push(event);
            return PushResult::TooSlow;
        }
        // The client reads this event and the removed ones by `sync`.
        self.slow_at = Some(now);
        let gone_from = self.queue.first_event().unwrap_or(self.ring.last() + 1);
        // Responses stay: each belongs to a command, and they are bounded at their source.
        self.queue.clear_events();
        let tail = Bytes::from_static(br#""t":"resync","why":"slow"}"#);
        self.number(BufferedEvent { tail, covers: None }, true);
        PushResult::Resync(gone_from)
    }

    /// Wakes the task that waits for output.
    pub fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests;
