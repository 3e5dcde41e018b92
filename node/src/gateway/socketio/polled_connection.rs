//! Engine connection that polls, until a WebSocket replaces the polls. It lives on one thread as two tasks: one for the
//! packets of the client and one for those to it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::CloseCode;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::engine_entry::{EngineCalls, InputCall, OutputCall, PostResult, SocketMessage};
use super::engine_id::EngineId;
use super::engine_packet::{self, EnginePacket, SEPARATOR};
use super::engine_packets::{EngineOutput, PolledPackets};
use super::engine_reader::{EngineInput, EngineReader};
use super::engine_table::EngineTable;
use crate::gateway::unauthenticated::UnauthenticatedGuard;
use crate::gateway::websocket::{Meter, ReadProgress, SessionOver};
use crate::session::messages::Disconnect;
use crate::session::{CloseSocket, ConnectionHandle, WriteChunk};
use crate::telemetry::metrics::ServerMetrics;

/// Time after which a poll is answered with nothing while an upgrade is in progress: the client sends its last packet
/// over the WebSocket only when no poll is open.
const PROBE_POLL: Duration = Duration::from_millis(100);
/// Payload without a meaning, which ends a poll.
const NOOP: Bytes = Bytes::from_static(b"6");

/// Socket of a connection without a socket: ends its tasks.
pub(super) struct PolledSocket {
    is_identified: Arc<AtomicBool>,
    /// Counts the client as unauthenticated.
    guard: RefCell<Option<UnauthenticatedGuard>>,
    cut: Notify,
}

/// Packets to the client.
struct PolledOutput<O> {
    link: Rc<ConnectionHandle>,
    packets: PolledPackets<O>,
    metrics: ServerMetrics,
    /// Notified when a poll is lost.
    lost: Rc<Notify>,
    /// Poll that waits for a payload.
    poll: Option<oneshot::Sender<Bytes>>,
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

/// Packets of the client.
struct PolledInput<I> {
    link: Rc<ConnectionHandle>,
    reader: EngineReader<I>,
    meter: Meter,
    lost: Rc<Notify>,
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

// === impl PolledSocket ===

impl PolledSocket {
    pub(super) fn new(calls: &EngineCalls, guard: UnauthenticatedGuard) -> Rc<PolledSocket> {
        Rc::new(PolledSocket {
            is_identified: calls.is_identified.clone(),
            guard: RefCell::new(Some(guard)),
            cut: Notify::new(),
        })
    }

    /// Returns the handle by which a session closes the connection.
    pub(super) fn handle(self: &Rc<Self>) -> Weak<dyn CloseSocket> {
        let handle: Rc<dyn CloseSocket> = self.clone();
        Rc::downgrade(&handle)
    }
}

impl CloseSocket for PolledSocket {
    fn cut(&self) {
        self.cut.notify_one();
    }

    fn identified(&self) {
        self.is_identified.store(true, Ordering::Relaxed);
        self.guard.take();
    }
}

/// Starts the tasks of a connection. They end with it. `patience`: time within which the client polls again.
pub(super) fn start<I: EngineInput, O: EngineOutput>(
    (table, id): (EngineTable, EngineId),
    calls: EngineCalls,
    (socket, link): (Rc<PolledSocket>, Rc<ConnectionHandle>),
    (reader, packets): (EngineReader<I>, PolledPackets<O>),
    (meter, metrics): (Meter, ServerMetrics),
    patience: Duration,
) {
    let EngineCalls { output, input, .. } = calls;
    let lost = Rc::new(Notify::new());
    let read = PolledInput {
        link: link.clone(),
        reader,
        meter,
        lost: lost.clone(),
    };
    let write = PolledOutput {
        link,
        packets,
        metrics,
        lost,
        poll: None,
        is_late: false,
        is_lost: false,
        patience,
        answered_at: Instant::now(),
        unconfirmed: 0,
        probe_poll_at: None,
        is_probing: false,
    };
    // Detached: both tasks end with the session, which ends a client that is silent for too long.
    actix_web::rt::spawn(read.run(input));
    actix_web::rt::spawn(async move {
        write.run(output, &socket).await;
        table.remove(id);
    });
}

// === impl PolledInput ===

impl<I: EngineInput> PolledInput<I> {
    async fn run(mut self, mut calls: mpsc::Receiver<InputCall>) {
        loop {
            let call = tokio::select! {
                call = calls.recv() => call,
                () = self.lost.notified() => Some(InputCall::Disconnect(Disconnect::Lost)),
                () = self.link.closing() => return,
            };
            self.link.on_received();
            let disconnect = match call {
                None => Disconnect::Lost,
                Some(InputCall::Disconnect(disconnect)) => disconnect,
                Some(InputCall::Post(payload, result)) => match self.post(&payload).await {
                    Ok(Ok(())) => {
                        let _cancelled = result.send(PostResult::Accepted);
                        continue;
                    }
                    // The client has ended the connection by a packet of this payload.
                    Err(SessionOver) => {
                        let _cancelled = result.send(PostResult::Accepted);
                        return;
                    }
                    Ok(Err(code)) => {
                        let _cancelled = result.send(PostResult::Refused);
                        Disconnect::Broken(code)
                    }
                },
                Some(InputCall::Packets(messages, accepted)) => match self.packets(&messages).await {
                    Ok(Ok(())) => {
                        let _cancelled = accepted.send(());
                        continue;
                    }
                    Err(SessionOver) => return,
                    Ok(Err(code)) => Disconnect::Broken(code),
                },
            };
            return self.reader.disconnect(disconnect).await;
        }
    }

    async fn post(&mut self, payload: &str) -> Result<Result<(), CloseCode>, SessionOver> {
        for packet in engine_packet::packets(payload) {
            let Ok(packet) = packet else {
                return Ok(Err(CloseCode::Protocol));
            };
            if let Err(code) = self.packet(&packet).await? {
                return Ok(Err(code));
            }
        }
        self.flush().await?;
        Ok(Ok(()))
    }

    async fn packets(&mut self, messages: &[SocketMessage]) -> Result<Result<(), CloseCode>, SessionOver> {
        for message in messages {
            let packet = match message {
                SocketMessage::Text(text) => EnginePacket::parse(text),
                SocketMessage::Binary(bytes) => Ok(EnginePacket::Binary((&bytes[..]).into())),
            };
            let Ok(packet) = packet else {
                return Ok(Err(CloseCode::Protocol));
            };
            if let Err(code) = self.packet(&packet).await? {
                return Ok(Err(code));
            }
        }
        self.flush().await?;
        Ok(Ok(()))
    }

    /// Handles a packet, whose maximum size depends on those before it.
    async fn packet(&mut self, packet: &EnginePacket<'_>) -> Result<Result<(), CloseCode>, SessionOver> {
        let length = match packet {
            EnginePacket::Message(text) => text.len(),
            EnginePacket::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        if length > self.reader.max_message() {
            self.flush().await?;
            if length > self.reader.max_message() {
                return Ok(Err(CloseCode::TooLarge));
            }
        }
        match self.reader.packet(packet, &mut self.meter) {
            Ok(ReadProgress::Continue) => Ok(Ok(())),
            // Nothing behind a close packet is executed.
            Ok(ReadProgress::Flush) => self.flush().await.map(Ok),
            Err(code) => Ok(Err(code)),
        }
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        if self.reader.is_pending() {
            self.link.hold(true);
            self.reader.flush().await?;
            self.meter.wait(&self.link).await?;
            self.link.hold(false);
        }
        Ok(())
    }
}

// === impl PolledOutput ===

impl<O: EngineOutput> PolledOutput<O> {
    /// Answers polls until the session has ended, or a WebSocket replaces them.
    async fn run(mut self, mut calls: mpsc::Receiver<OutputCall>, socket: &PolledSocket) {
        loop {
            match self.next(&mut calls, socket).await {
                OutputEvent::Call(Some(OutputCall::Upgrade(payloads))) if self.is_probing => {
                    // The client waits for its poll, if there is one, before it uses the WebSocket.
                    self.answer(NOOP);
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
                Some(poll) => poll.closed().await,
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
            OutputCall::Poll(sender) => {
                self.link.on_received();
                // The client has read the previous answer.
                self.link.on_pong(self.unconfirmed);
                self.poll = Some(sender);
                self.is_late = self.is_lost || self.link.is_closed();
                if self.is_probing {
                    self.probe_poll_at = Some(Instant::now() + PROBE_POLL);
                }
            }
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

    /// Answers the waiting poll, if there is one.
    fn answer(&mut self, payload: Bytes) {
        if let Some(poll) = self.poll.take() {
            if poll.send(payload).is_err() {
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
