//! Step 1, second half: bytes become whole text messages, and those go to the session, all of one read at once.
//!
//! The reader waits until the session has taken up what it was given before it reads on, so a client that is too fast
//! is slowed down by TCP. Until it is known who the client is, its messages are small. The first half is the
//! [frame guard](super::frame_guard), the step after [`protocol::command`].

use std::rc::Rc;
use std::time::Instant;

use actix::Addr;
use actix_http::ws::Parser;
use actix_web::web::Payload;
use bytes::BytesMut;
use futures::StreamExt;
use protocol::{Command, Request};

use super::frame_guard::{FrameGuard, Header, Kind, Violation};
use super::meter::Meter;
use crate::config::Limits;
use crate::session::messages::{Batch, Hangup, Item};
use crate::session::{Link, Session};
use crate::telemetry::metrics::Metrics;

/// Bytes of a message before it is known who the client is: the longest token, and all that may stand beside it.
const BEFORE_AUTH: usize = 12_288;

/// The reading half of a connection.
pub(super) struct Reader {
    link: Rc<Link>,
    session: Addr<Session>,
    metrics: Metrics,
    max: usize,
    guard: FrameGuard,
    meter: Meter,
    /// Bytes that are no whole frame yet. Without capacity while the client is silent.
    buffer: BytesMut,
    /// The fragments of a message that has not ended.
    message: BytesMut,
    batch: Vec<Item>,
}

/// The session has ended.
struct Over;

/// How far the bytes that have come were taken.
enum Taken {
    /// As far as there are whole frames.
    All,
    /// Up to an `auth`: what follows depends on what becomes of it.
    Auth,
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
            guard: FrameGuard::new(limits.max_frame_bytes.min(BEFORE_AUTH)),
            meter: Meter::new(limits, Instant::now()),
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
            self.buffer.extend_from_slice(&chunk);
            match self.pass_on().await {
                Ok(Ok(())) => {}
                Ok(Err(End::Goodbye(code))) => break Hangup::Goodbye(code),
                Ok(Err(End::Broken(violation))) => {
                    tracing::debug!(?violation, "connection broke the rules of WebSocket");
                    break Hangup::Broken(violation.close_code());
                }
                Err(Over) => return,
            }
        };
        // The session may have ended meanwhile: then there is nobody to tell.
        let _gone = self.session.send(hangup).await;
    }

    /// Hands what has come to the session, and waits until it has taken it up and as long as the meter says.
    async fn pass_on(&mut self) -> Result<Result<(), End>, Over> {
        loop {
            if self.link.is_identified() {
                self.guard.allow(self.max);
            }
            let taken = self.take();
            if self.batch.is_empty() {
                // Other connections of the thread have their turn, whatever this one brings.
                tokio::task::yield_now().await;
            } else {
                self.link.hold(true);
                let batch = Batch(std::mem::take(&mut self.batch));
                self.session.send(batch).await.map_err(|_| Over)?;
                let wait = self.meter.take_wait();
                if !wait.is_zero() {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.link.closing() => return Err(Over),
                    }
                }
                self.link.hold(false);
            }
            match taken {
                Ok(Taken::Auth) => {}
                Ok(Taken::All) => return Ok(Ok(())),
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    /// Takes whole frames out of what has come.
    fn take(&mut self) -> Result<Taken, End> {
        loop {
            let header = match self.guard.inspect(&self.buffer) {
                Ok(Some(header)) if header.total <= self.buffer.len() => header,
                Ok(_) => break,
                Err(violation) => return Err(End::Broken(violation)),
            };
            self.frame(&header)?;
            if !self.link.is_identified() && self.batch.last().is_some_and(is_auth) {
                return Ok(Taken::Auth);
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Taken::All)
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
        let counted = self.meter.frame(header, payload.len(), Instant::now());
        counted.map_err(End::Broken)?;
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
        let now = Instant::now();
        let request = match Request::decode(text) {
            Ok(None) => return self.meter.ignored(bytes.len(), now).map_err(End::Broken),
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        self.meter.message(bytes.len(), now);
        self.batch.push(Item {
            request,
            bytes: bytes.len(),
        });
        Ok(())
    }
}

fn is_auth(item: &Item) -> bool {
    matches!(
        &item.request,
        Ok(Request {
            command: Command::Auth(_),
            ..
        })
    )
}

/// What a close frame of the client says: its code comes back to it, unless the frame itself is broken.
fn goodbye(payload: &[u8]) -> End {
    match Parser::try_parse_close_payload(payload) {
        Ok(None) => End::Goodbye(None),
        Ok(Some(reason)) => End::Goodbye(Some(reason.code.into())),
        Err(_) => End::Broken(Violation::Framing("the close frame is broken")),
    }
}
