//! Step 1, second half: bytes become whole text messages, and those go to the session, all of one read at once.
//!
//! The reader waits until the session has taken up what it was given before it reads on, so a client that is too fast
//! is slowed down by TCP. The first half is the [frame guard](super::frame_guard), the step after [`protocol::command`].

use std::rc::Rc;
use std::time::Instant;

use actix::Addr;
use actix_http::ws::Parser;
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use protocol::Request;

use super::frame_guard::{FrameGuard, Header, Kind, Violation};
use crate::config::Limits;
use crate::session::messages::{Batch, Hangup, Item};
use crate::session::rate_limit::Bucket;
use crate::session::{Link, Session};
use crate::telemetry::metrics::Metrics;

/// The reading half of a connection.
pub(super) struct Reader {
    link: Rc<Link>,
    session: Addr<Session>,
    metrics: Metrics,
    max: usize,
    guard: FrameGuard,
    /// Control frames and empty fragments, which no other limit sees.
    free: Bucket,
    /// Bytes that are no whole frame yet. Without capacity while the client is silent.
    buffer: BytesMut,
    /// The fragments of a message that has not ended.
    message: BytesMut,
    batch: Vec<Item>,
}

/// Why reading ends.
enum End {
    Broken(Violation),
    Goodbye(Option<u16>),
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(link: Rc<Link>, session: Addr<Session>, metrics: Metrics, limits: &Limits) -> Reader {
        Reader {
            link,
            session,
            metrics,
            max: limits.max_frame_bytes,
            guard: FrameGuard::new(limits.max_frame_bytes),
            free: Bucket::new(
                limits.control_frames_per_s,
                limits.control_frames_per_s * 10,
                Instant::now(),
            ),
            buffer: BytesMut::new(),
            message: BytesMut::new(),
            batch: Vec::new(),
        }
    }

    /// Reads until the connection or the session ends.
    pub(super) async fn run(mut self, mut payload: Payload) {
        let hangup = loop {
            let chunk = tokio::select! {
                chunk = payload.next() => chunk,
                () = self.link.closing() => return,
            };
            let Some(Ok(chunk)) = chunk else {
                break Hangup::Lost;
            };
            self.link.heard();
            self.metrics.bytes_in.inc_by(chunk.len() as u64);
            let end = self.take(&chunk);
            if !self.batch.is_empty() {
                self.link.hold(true);
                let batch = Batch(std::mem::take(&mut self.batch));
                if self.session.send(batch).await.is_err() {
                    return;
                }
                self.link.hold(false);
            }
            match end {
                None => {}
                Some(End::Goodbye(code)) => break Hangup::Goodbye(code),
                Some(End::Broken(violation)) => {
                    tracing::debug!(?violation, "connection broke the rules of WebSocket");
                    break Hangup::Broken(violation.close_code());
                }
            }
        };
        // The session may have ended meanwhile: then there is nobody to tell.
        let _gone = self.session.send(hangup).await;
    }

    /// Takes whole frames out of what has come.
    fn take(&mut self, chunk: &Bytes) -> Option<End> {
        self.buffer.extend_from_slice(chunk);
        loop {
            let header = match self.guard.inspect(&self.buffer) {
                Ok(Some(header)) if header.total <= self.buffer.len() => header,
                Ok(_) => break,
                Err(violation) => return Some(End::Broken(violation)),
            };
            if let Err(end) = self.frame(&header) {
                return Some(end);
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        None
    }

    /// Takes one whole frame out of the buffer.
    fn frame(&mut self, header: &Header) -> Result<(), End> {
        // The guard has seen all of it; a disagreement would be a fault of ours, and ends the connection.
        let disagree = End::Broken(Violation::Framing("the frame cannot be parsed"));
        let payload = match Parser::parse(&mut self.buffer, true, self.max.max(125)) {
            Ok(Some((_, _, payload))) => payload.unwrap_or_default(),
            Ok(None) | Err(_) => return Err(disagree),
        };
        self.metrics.frames_in.inc();
        self.guard.passed(header, payload.len());
        let text = matches!(header.kind, Kind::Text | Kind::Continuation);
        if (!text || payload.is_empty()) && self.free.take(Instant::now()).is_err() {
            return Err(End::Broken(Violation::Flood));
        }
        match header.kind {
            Kind::Text | Kind::Continuation if header.last && self.message.is_empty() => self.text(&payload),
            Kind::Text | Kind::Continuation => {
                self.message.extend_from_slice(&payload);
                if !header.last {
                    return Ok(());
                }
                let message = std::mem::take(&mut self.message);
                self.text(&message)
            }
            Kind::Ping => {
                self.link.outbox(|outbox| outbox.pong(payload.freeze()));
                Ok(())
            }
            Kind::Pong => Ok(()),
            Kind::Close => Err(goodbye(&payload)),
        }
    }

    /// Step 2: one whole text message.
    fn text(&mut self, bytes: &[u8]) -> Result<(), End> {
        let text = std::str::from_utf8(bytes).map_err(|_| End::Broken(Violation::Utf8))?;
        let request = match Request::decode(text) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        self.batch.push(Item {
            request,
            bytes: bytes.len(),
        });
        Ok(())
    }
}

/// What a close frame of the client says: its code comes back to it, unless the frame itself is broken.
fn goodbye(payload: &[u8]) -> End {
    match Parser::try_parse_close_payload(payload) {
        Ok(None) => End::Goodbye(None),
        Ok(Some(reason)) => End::Goodbye(Some(reason.code.into())),
        Err(_) => End::Broken(Violation::Framing("the close frame is broken")),
    }
}
