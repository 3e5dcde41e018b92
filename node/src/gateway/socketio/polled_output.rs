//! Packets to the client of an engine connection that polls, until a WebSocket replaces the polls.
//!
//! A poll that a proxy repeats is one poll. The repetition takes the place of the waiting one, or gets the answer that the
//! first one got: that may be lost with the node that forwarded it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::engine_entry::{EnginePoll, OutputCall};
use super::engine_packet::SEPARATOR;
use super::engine_packets::{EngineOutput, PolledPackets};
use super::polled_connection::PolledSocket;
use crate::session::{ConnectionHandle, WriteChunk};
use crate::telemetry::metrics::ServerMetrics;

/// Time after which a poll is answered with nothing while an upgrade is in progress: the client sends its last packet
/// over the WebSocket only when no poll is open.
const PROBE_POLL: Duration = Duration::from_millis(100);
/// Maximum number of times that the answer to a forwarded poll is repeated: more than any proxy needs, and an end to the
/// repetitions for a client that gives every poll the same id.
const REPETITIONS: u32 = 8;
/// Payload without a meaning, which ends a poll.
const NOOP: Bytes = Bytes::from_static(b"6");

/// Packets to the client.
pub(super) struct PolledOutput<O> {
    link: Rc<ConnectionHandle>,
    packets: PolledPackets<O>,
    metrics: ServerMetrics,
    /// Notified when a poll is lost.
    lost: Rc<Notify>,
    /// Poll that waits for a payload.
    poll: Option<WaitingPoll>,
    /// Answer to the last forwarded poll, for its repetition.
    answered: Option<AnsweredPoll>,
    /// True if the poll began after the end of the connection.
    is_late: bool,
    /// True once a poll was lost or overdue, which ends the connection.
    is_lost: bool,
    /// Time within which a client polls again.
    patience: Duration,
    /// Time of the last answer to a poll.
    answered_at: Instant,
    /// Number of the last event in the previous answer. The next poll shows that it was received.
    unconfirmed: u64,
    /// Time of an empty answer; `None` unless an upgrade is in progress.
    probe_poll_at: Option<Instant>,
    is_probing: bool,
}

struct WaitingPoll {
    request: EnginePoll,
    answer: oneshot::Sender<Bytes>,
}

struct AnsweredPoll {
    id: String,
    payload: Bytes,
    /// Number of repetitions that may still get the payload.
    repetitions: u32,
}

/// Continuation of the output.
enum OutputEvent {
    Call(Option<OutputCall>),
    Written(Option<WriteChunk>),
    Cancelled,
    Noop,
    /// The client polls no more.
    Overdue,
    Cut,
}

/// Returns true if a payload says nothing but that the connection has ended.
fn is_end_alone(payload: &[u8]) -> bool {
    payload
        .split(|byte| *byte == SEPARATOR)
        .all(|packet| matches!(packet, b"1" | b"2"))
}

// === impl PolledOutput ===

impl<O: EngineOutput> PolledOutput<O> {
    /// `lost` is notified when a poll is lost. `patience`: time within which the client polls again.
    pub(super) fn new(
        link: Rc<ConnectionHandle>,
        packets: PolledPackets<O>,
        metrics: ServerMetrics,
        lost: Rc<Notify>,
        patience: Duration,
    ) -> PolledOutput<O> {
        PolledOutput {
            link,
            packets,
            metrics,
            lost,
            poll: None,
            answered: None,
            is_late: false,
            is_lost: false,
            patience,
            answered_at: Instant::now(),
            unconfirmed: 0,
            probe_poll_at: None,
            is_probing: false,
        }
    }

    /// Answers polls until the session has ended, or a WebSocket replaces them.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<OutputCall>, socket: &PolledSocket) {
        loop {
            match self.next(&mut calls, socket).await {
                OutputEvent::Call(Some(OutputCall::Upgrade(payloads))) if self.is_probing => {
                    // The client waits for its poll, if there is one, before it uses the WebSocket.
                    self.answer(NOOP);
                    self.answered = None;
                    drop(calls);
                    return self.run_upgraded(payloads, socket).await;
                }
                OutputEvent::Call(Some(call)) => self.call(call),
                // Nothing but the end, and it is known already: the id is refused from now on.
                OutputEvent::Written(Some(chunk)) if self.is_late && is_end_alone(&chunk.bytes) => break,
                OutputEvent::Written(Some(chunk)) => {
                    self.count(&chunk);
                    self.answer(chunk.bytes);
                }
                OutputEvent::Cancelled => {
                    // The client reconnects after a lost poll and recovers; it does not poll on.
                    self.poll = None;
                    self.lose();
                }
                OutputEvent::Noop => self.answer(NOOP),
                OutputEvent::Overdue => self.lose(),
                OutputEvent::Call(None) | OutputEvent::Written(None) | OutputEvent::Cut => break,
            }
        }
        self.link.on_unread();
    }

    async fn next(&mut self, calls: &mut mpsc::Receiver<OutputCall>, socket: &PolledSocket) -> OutputEvent {
        let (link, packets, poll) = (&self.link, &self.packets, &mut self.poll);
        let (has_poll, probe_poll_at) = (poll.is_some(), self.probe_poll_at);
        let overdue = tokio::time::sleep_until(self.answered_at + self.patience);
        let cancelled = async {
            match poll {
                Some(poll) => poll.answer.closed().await,
                None => std::future::pending().await,
            }
        };
        let noop = async {
            match probe_poll_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancelled => OutputEvent::Cancelled,
            chunk = std::future::poll_fn(|cx| link.poll_piece(cx, packets)), if has_poll => OutputEvent::Written(chunk),
            call = calls.recv() => OutputEvent::Call(call),
            () = noop, if has_poll => OutputEvent::Noop,
            // The session does not count the silence of a client whose packets wait for room in the queue.
            () = overdue, if !has_poll && !self.is_lost => OutputEvent::Overdue,
            () = socket.cut.notified() => OutputEvent::Cut,
        }
    }

    fn call(&mut self, call: OutputCall) {
        match call {
            OutputCall::Poll(request, answer) => self.on_poll(request, answer),
            OutputCall::Probe(begun) => {
                self.is_probing = true;
                let _cancelled = begun.send(());
                self.probe_poll_at = Some(Instant::now());
            }
            OutputCall::EndProbe => {
                self.is_probing = false;
                self.probe_poll_at = None;
            }
            // An upgrade without a probe: the channel closes.
            OutputCall::Upgrade(_) => {}
        }
    }

    fn on_poll(&mut self, request: EnginePoll, answer: oneshot::Sender<Bytes>) {
        self.link.on_received();
        if let Some(waiting) = &mut self.poll {
            if request.repeats(waiting.request.id.as_deref()) {
                // The first one has no receiver any more.
                *waiting = WaitingPoll { request, answer };
            } else {
                // A second poll at once. Its answer is refused.
                self.lose();
            }
            return;
        }
        let answered = self.answered.take();
        let repeated =
            |answered: &AnsweredPoll| answered.repetitions > 0 && request.repeats(Some(&answered.id));
        if let Some(answered) = answered.filter(repeated) {
            // It does not show that the client has read the answer.
            let _cancelled = answer.send(answered.payload.clone());
            self.answered = Some(AnsweredPoll {
                repetitions: answered.repetitions - 1,
                ..answered
            });
            self.answered_at = Instant::now();
            return;
        }
        // The client has read the previous answer.
        self.link.on_pong(self.unconfirmed);
        self.poll = Some(WaitingPoll { request, answer });
        self.is_late = self.is_lost || self.link.is_closed();
        if self.is_probing {
            self.probe_poll_at = Some(Instant::now() + PROBE_POLL);
        }
    }

    /// Answers the waiting poll, if there is one.
    fn answer(&mut self, payload: Bytes) {
        if let Some(WaitingPoll { request, answer }) = self.poll.take() {
            if let (true, Some(id)) = (request.is_forwarded, request.id) {
                // Copied: the payload may be a small part of a large buffer.
                let payload = Bytes::copy_from_slice(&payload);
                self.answered = Some(AnsweredPoll {
                    id,
                    payload,
                    repetitions: REPETITIONS,
                });
            }
            if answer.send(payload).is_err() {
                return self.lose();
            }
            self.unconfirmed = self.link.outbox(|outbox| outbox.sent());
            self.answered_at = Instant::now();
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        // By the session, too: the input may be waiting for room in the queue.
        self.link.lose();
        self.lost.notify_one();
    }

    fn count(&self, chunk: &WriteChunk) {
        self.metrics.writes.inc();
        self.metrics.frames_out.inc_by(chunk.frames);
        self.metrics.bytes_out.inc_by(chunk.bytes.len() as u64);
    }

    /// Sends payloads to the WebSocket until it or the session has ended.
    async fn run_upgraded(self, payloads: mpsc::Sender<Bytes>, socket: &PolledSocket) {
        loop {
            // Reserved first: what is taken out of the queue counts as sent.
            let permit = tokio::select! {
                permit = payloads.reserve() => permit,
                () = socket.cut.notified() => break,
            };
            let Ok(permit) = permit else {
                break;
            };
            let (link, packets) = (&self.link, &self.packets);
            let mut write = std::pin::pin!(std::future::poll_fn(|cx| link.poll_piece(cx, packets)));
            let chunk = tokio::select! {
                chunk = &mut write => chunk,
                () = payloads.closed() => break,
                () = socket.cut.notified() => break,
            };
            let Some(chunk) = chunk else {
                break;
            };
            self.count(&chunk);
            permit.send(chunk.bytes);
        }
        self.link.on_unread();
    }
}
