//! Reader of a WebSocket: assembles text messages from bytes and sends those of one read to the session as a batch.
//!
//! Spine: step 1 of 13. Previous: none. Next: `protocol: command`.
//!
//! The reader waits until the session has accepted a batch before it reads on, so TCP slows down a client that sends
//! too fast. Before authentication, messages are limited to a small size. The [frame guard](super::frame_guard)
//! has checked the header of each frame.

use std::rc::Rc;
use std::time::Instant;

use actix::Addr;
use actix_http::ws::Parser;
use actix_web::web::Payload;
use bytes::BytesMut;
use futures::StreamExt;
use protocol::{ClientCommand, Request};

use super::frame_guard::{FrameGuard, FrameHeader, FrameViolation, WebSocketOpcode};
use super::meter::Meter;
use crate::config::Config;
use crate::session::messages::{CommandBatch, Disconnect, ReceivedCommand};
use crate::session::{ConnectionHandle, Session};
use crate::telemetry::metrics::ServerMetrics;

/// Maximum bytes of a message before authentication: the longest token and the other fields of `auth`.
const BEFORE_AUTH: usize = 12_288;

/// Reading half of a connection.
pub(super) struct SocketReader {
    link: Rc<ConnectionHandle>,
    session: Addr<Session>,
    metrics: ServerMetrics,
    max: usize,
    guard: FrameGuard,
    meter: Meter,
    /// Bytes of an incomplete frame. Without capacity while the client is idle.
    buffer: BytesMut,
    /// Fragments of an incomplete message.
    message: BytesMut,
    batch: Vec<ReceivedCommand>,
}

/// The session has ended.
struct SessionOver;

/// Extent to which the buffered bytes were parsed.
enum ReadProgress {
    /// All complete frames were parsed.
    All,
    /// Parsing stopped after an `auth`, whose outcome changes the limits for the rest.
    Auth,
}

/// Reason for the end of reading.
enum ReadEnd {
    Broken(FrameViolation),
    CloseFrame(Option<u16>),
}

// === impl SocketReader ===

impl SocketReader {
    pub(super) fn new(
        link: Rc<ConnectionHandle>,
        session: Addr<Session>,
        metrics: ServerMetrics,
        config: &Config,
    ) -> SocketReader {
        SocketReader {
            link,
            session,
            metrics,
            max: config.max_frame(),
            guard: FrameGuard::new(config.max_frame().min(BEFORE_AUTH)),
            meter: Meter::new(config, Instant::now()),
            buffer: BytesMut::new(),
            message: BytesMut::new(),
            batch: Vec::new(),
        }
    }

    /// Reads until the connection or the session ends.
    pub(super) async fn run(mut self, mut payload: Payload) {
        let disconnect = loop {
            let chunk = tokio::select! {
                chunk = payload.next() => chunk,
                // Without this branch, an idle client would keep the task until the TCP connection ends.
                () = self.link.closing() => return,
            };
            let Some(Ok(chunk)) = chunk else {
                break Disconnect::Lost;
            };
            self.link.on_received();
            self.metrics.bytes_in.inc_by(chunk.len() as u64);
            self.buffer.extend_from_slice(&chunk);
            match self.pass_on().await {
                Ok(Ok(())) => {}
                Ok(Err(ReadEnd::CloseFrame(code))) => break Disconnect::CloseFrame(code),
                Ok(Err(ReadEnd::Broken(violation))) => {
                    tracing::debug!(?violation, "WebSocket protocol violation, closing connection");
                    break Disconnect::Broken(violation.close_code());
                }
                Err(SessionOver) => return,
            }
        };
        // An error means that the session has ended already.
        let _gone = self.session.send(disconnect).await;
    }

    /// Sends the buffered messages to the session, and waits until it has accepted them and the meter's delay has
    /// passed.
    async fn pass_on(&mut self) -> Result<Result<(), ReadEnd>, SessionOver> {
        loop {
            // Raised as soon as the client is identified, also for frames that are buffered already.
            if self.link.is_identified() {
                self.guard.allow(self.max);
            }
            let taken = self.take();
            if self.batch.is_empty() {
                // Without a batch nothing above waits. A client with endless input would starve the thread's other
                // connections.
                tokio::task::yield_now().await;
            } else {
                // While the session holds the reader, the client's silence must not count towards the idle timeout.
                self.link.hold(true);
                let batch = CommandBatch(std::mem::take(&mut self.batch));
                // The session answers when it has accepted the batch: this is the backpressure on the client.
                self.session.send(batch).await.map_err(|_| SessionOver)?;
                let wait = self.meter.take_wait();
                if !wait.is_zero() {
                    // The session may end during the delay; without the race this task would outlive it.
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.link.closing() => return Err(SessionOver),
                    }
                }
                self.link.hold(false);
            }
            match taken {
                Ok(ReadProgress::Auth) => {}
                Ok(ReadProgress::All) => return Ok(Ok(())),
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    /// Parses complete frames from the buffer.
    fn take(&mut self) -> Result<ReadProgress, ReadEnd> {
        loop {
            let header = match self.guard.inspect(&self.buffer) {
                Ok(Some(header)) if header.total <= self.buffer.len() => header,
                Ok(_) => break,
                Err(violation) => return Err(ReadEnd::Broken(violation)),
            };
            self.frame(&header)?;
            if !self.link.is_identified() && self.batch.last().is_some_and(is_auth) {
                return Ok(ReadProgress::Auth);
            }
        }
        // Returns the memory: most connections are idle, and each would keep its largest read allocated.
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(ReadProgress::All)
    }

    /// Parses one complete frame from the buffer.
    fn frame(&mut self, header: &FrameHeader) -> Result<(), ReadEnd> {
        // The guard has checked the frame. If the parser disagrees, the rest of the stream cannot be trusted.
        let disagree = ReadEnd::Broken(FrameViolation::Framing("the frame cannot be parsed"));
        // At least a control frame must pass, however small the configured message limit is.
        let payload = match Parser::parse(&mut self.buffer, true, self.max.max(125)) {
            Ok(Some((_, _, payload))) => payload.unwrap_or_default(),
            Ok(None) | Err(_) => return Err(disagree),
        };
        self.metrics.frames_in.inc();
        self.guard.passed(header, payload.len());
        let counted = self.meter.frame(header, payload.len(), Instant::now());
        counted.map_err(ReadEnd::Broken)?;
        match header.kind {
            // Common case: an unfragmented message is not copied into the fragment buffer.
            WebSocketOpcode::Text | WebSocketOpcode::Continuation
                if header.last && self.message.is_empty() =>
            {
                self.text(&payload)
            }
            WebSocketOpcode::Text | WebSocketOpcode::Continuation => {
                self.message.extend_from_slice(&payload);
                if !header.last {
                    return Ok(());
                }
                let message = std::mem::take(&mut self.message);
                self.text(&message)
            }
            WebSocketOpcode::Ping => {
                // Answered here and not by the session actor, whose load must not delay the pong.
                self.link.outbox(|outbox| outbox.pong(payload.freeze()));
                Ok(())
            }
            WebSocketOpcode::Pong => Ok(()),
            WebSocketOpcode::Close => Err(on_close_frame(&payload)),
        }
    }

    /// Decodes a complete text message.
    fn text(&mut self, bytes: &[u8]) -> Result<(), ReadEnd> {
        // Checked on the whole message: a fragment may end inside of a character.
        let text = std::str::from_utf8(bytes).map_err(|_| ReadEnd::Broken(FrameViolation::Utf8))?;
        let now = Instant::now();
        let request = match Request::decode(text) {
            Ok(None) => return self.meter.ignored(bytes.len(), now).map_err(ReadEnd::Broken),
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        self.meter.message(bytes.len(), now);
        self.batch.push(ReceivedCommand {
            request,
            bytes: bytes.len(),
        });
        Ok(())
    }
}

fn is_auth(item: &ReceivedCommand) -> bool {
    matches!(
        &item.request,
        Ok(Request {
            command: ClientCommand::Auth(_),
            ..
        })
    )
}

/// Interprets a close frame of the client. Its code is echoed, unless the frame is malformed.
fn on_close_frame(payload: &[u8]) -> ReadEnd {
    match Parser::try_parse_close_payload(payload) {
        Ok(None) => ReadEnd::CloseFrame(None),
        Ok(Some(reason)) => ReadEnd::CloseFrame(Some(reason.code.into())),
        Err(_) => ReadEnd::Broken(FrameViolation::Framing("the close frame is malformed")),
    }
}
