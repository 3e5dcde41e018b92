//! Reader of a WebSocket: reads the socket, answers pings, and passes the messages of one read to the protocol's
//! handler.
//!
//! Spine: step 1 of 13. Previous: none. Next: `protocol: command`.
//!
//! The reader waits until the [handler](super::handler) has accepted the messages of one read before it reads on, so TCP
//! slows down a client that sends too fast. The [frame reader](super::frame_reader) has checked the header of each
//! frame before its payload was buffered. The native protocol is [`JsonCommands`](super::json_commands).

use std::rc::Rc;
use std::time::Instant;

use actix_web::web::Payload;
use futures::StreamExt;

use super::frame_guard::FrameViolation;
use super::frame_reader::{FrameContent, FrameReader, text_of};
use super::handler::{MessageHandler, ReadProgress, SessionOver, WebSocketMessage};
use super::meter::Meter;
use crate::session::ConnectionHandle;
use crate::session::messages::Disconnect;
use crate::telemetry::metrics::ServerMetrics;

/// Reading half of a connection.
pub(super) struct SocketReader<H> {
    link: Rc<ConnectionHandle>,
    handler: H,
    metrics: ServerMetrics,
    frames: FrameReader,
    meter: Meter,
}

/// Extent to which the buffered bytes were parsed.
enum ParseProgress {
    /// All complete frames were parsed.
    All,
    /// Parsing stopped behind a message that has to be flushed first.
    Part,
}

// === impl SocketReader ===

impl<H: MessageHandler> SocketReader<H> {
    pub(super) fn new(
        link: Rc<ConnectionHandle>,
        handler: H,
        metrics: ServerMetrics,
        meter: Meter,
    ) -> SocketReader<H> {
        SocketReader {
            link,
            metrics,
            frames: FrameReader::new(handler.max_message(), H::KINDS),
            meter,
            handler,
        }
    }

    /// Reads until the connection or the session ends.
    pub(super) async fn run(mut self, mut payload: Payload) {
        let disconnect = loop {
            let chunk = tokio::select! {
                chunk = payload.next() => Some(chunk),
                () = self.handler.requested() => None,
                // Without this branch, an idle client would keep the task until the TCP connection ends.
                () = self.link.closing() => return,
            };
            match chunk {
                Some(Some(Ok(chunk))) => {
                    self.link.on_received();
                    self.metrics.bytes_in.inc_by(chunk.len() as u64);
                    self.frames.push(&chunk);
                }
                Some(Some(Err(_)) | None) => break Disconnect::Lost,
                None => {}
            }
            match self.pass_on().await {
                Ok(Ok(())) => {}
                Ok(Err(disconnect)) => break disconnect,
                Err(SessionOver) => return,
            }
        };
        self.handler.end(disconnect).await;
    }

    /// Passes the buffered messages to the handler, and waits until it has accepted them and the meter's delay has
    /// passed.
    async fn pass_on(&mut self) -> Result<Result<(), Disconnect>, SessionOver> {
        loop {
            // Raised as soon as the client is identified, also for frames that are buffered already.
            self.frames.allow(self.handler.max_message());
            let parsed = self.parse();
            if self.handler.is_pending() {
                // While the session holds the reader, the client's silence must not count towards the idle timeout.
                self.link.hold(true);
                self.handler.flush().await?;
                self.meter.wait(&self.link).await?;
                self.link.hold(false);
            } else {
                // Nothing above waits. A client with endless input would starve the thread's other connections.
                tokio::task::yield_now().await;
            }
            match parsed {
                Ok(ParseProgress::Part) => {}
                Ok(ParseProgress::All) => return Ok(Ok(())),
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    /// Parses complete frames from the buffer.
    fn parse(&mut self) -> Result<ParseProgress, Disconnect> {
        loop {
            let frame = match self.frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(ParseProgress::All),
                Err(violation) => return Err(broken(violation)),
            };
            self.metrics.frames_in.inc();
            let counted = self.meter.frame(&frame.header, frame.length, Instant::now());
            counted.map_err(broken)?;
            let message = match &frame.content {
                FrameContent::Text(bytes) => WebSocketMessage::Text(text_of(bytes).map_err(broken)?),
                FrameContent::Binary(bytes) => WebSocketMessage::Binary(bytes),
                FrameContent::Fragment => continue,
                FrameContent::Ping(payload) => {
                    // Answered here and not by the session actor, whose load must not delay the pong.
                    let payload = payload.clone().freeze();
                    self.link.outbox(|outbox| outbox.pong(payload));
                    continue;
                }
                FrameContent::Pong(payload) => {
                    // Other payloads answer no ping of the server.
                    if let Ok(n) = <[u8; 8]>::try_from(&payload[..]) {
                        self.link.on_pong(u64::from_be_bytes(n));
                    }
                    continue;
                }
                FrameContent::Close(code) => return Err(Disconnect::CloseFrame(*code)),
            };
            match self.handler.message(message, &mut self.meter) {
                Ok(ReadProgress::Continue) => {}
                Ok(ReadProgress::Flush) => return Ok(ParseProgress::Part),
                Err(code) => return Err(Disconnect::Broken(code)),
            }
        }
    }
}

fn broken(violation: FrameViolation) -> Disconnect {
    tracing::debug!(?violation, "WebSocket protocol violation, closing connection");
    Disconnect::Broken(violation.close_code())
}
