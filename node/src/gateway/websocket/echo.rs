//! `GET /v1/echo`: returns every message, for conformance tests of the frame layer. In builds with the feature
//! `conformance` and on nodes with development tokens only.
//!
//! The connection has no session. Its messages pass the same reader and writer as those of the native protocol, with
//! larger limits.

use std::rc::Rc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::{BufMut, BytesMut};
use protocol::{CloseCode, ErrorCode};

use super::frame_guard::MessageKinds;
use super::frame_writer::{MessageFraming, MessageWriter};
use super::handler::{MessageHandler, ReadProgress, SessionOver, WebSocketMessage};
use super::meter::Meter;
use super::upgrade::{self, Subprotocols};
use crate::gateway::problem::Problem;
use crate::session::messages::Disconnect;
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle, WorkerContext};

/// Maximum size of a message: that of the largest in the Autobahn test suite.
const MAX_MESSAGE: usize = 16 << 20;
/// Control frames and small fragments per second.
const CONTROL_FRAMES: u32 = 1_000_000;
const TEXT: u8 = b't';
const BINARY: u8 = b'b';

const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &[],
    required: false,
};

/// Returns the messages of one client.
struct Echo {
    link: Rc<ConnectionHandle>,
    is_behind: bool,
}

/// Messages whose first byte is their kind.
struct EchoMessages;

pub(in crate::gateway) fn routes(config: &mut web::ServiceConfig) {
    config.service(echo);
}

#[get("/v1/echo")]
async fn echo(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
) -> Result<HttpResponse, Problem> {
    if !worker.config.auth.dev_tokens {
        return Err(Problem::new(ErrorCode::NotFound, "there is no such resource"));
    }
    let checked = upgrade::check(&request, &worker, SUBPROTOCOLS)?;
    let mut config = (*worker.config).clone();
    config.tuning.control_frames_per_second = CONTROL_FRAMES;
    let meter = Meter::new(&config, Instant::now());
    checked.open(
        (&request, payload),
        &worker,
        None,
        (meter, EchoMessages),
        |link| Echo {
            link: link.clone(),
            is_behind: false,
        },
    )
}

/// Closes a connection without a session after its client ended it.
pub(in crate::gateway) fn close_echo(link: &ConnectionHandle, disconnect: Disconnect) {
    let (code, is_lost) = match disconnect {
        Disconnect::Lost => (None, true),
        Disconnect::CloseFrame(code) => (code, false),
        Disconnect::Broken(code) => (Some(code.code()), false),
    };
    link.close(code, None, is_lost, CLOSE_TIMEOUT);
}

impl MessageHandler for Echo {
    const KINDS: MessageKinds = MessageKinds::Any;

    fn max_message(&self) -> usize {
        MAX_MESSAGE
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        _meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        let (kind, payload) = match message {
            WebSocketMessage::Text(text) => (TEXT, text.as_bytes()),
            WebSocketMessage::Binary(bytes) => (BINARY, bytes),
        };
        let mut body = BytesMut::with_capacity(1 + payload.len());
        body.put_u8(kind);
        body.put_slice(payload);
        self.link.outbox(|outbox| outbox.answer(body.freeze()));
        self.is_behind = self.link.behind();
        Ok(if self.is_behind {
            ReadProgress::Flush
        } else {
            ReadProgress::Continue
        })
    }

    fn is_pending(&self) -> bool {
        self.is_behind
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        self.link.room().await;
        self.is_behind = false;
        Ok(())
    }

    async fn end(self, disconnect: Disconnect) {
        close_echo(&self.link, disconnect);
    }
}

impl MessageFraming for EchoMessages {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        match body.split_first() {
            Some((&TEXT, text)) => out.text(|out| out.put_slice(text)),
            Some((_, bytes)) => out.binary(|out| out.put_slice(bytes)),
            None => {}
        }
    }

    /// Appends nothing: there are no events without a session.
    fn event(&self, _out: &mut MessageWriter<'_>, _n: u64, _tail: &[u8]) {}
}
