//! Line echo: returns every line, for tests of the TCP listener. In builds with the feature `conformance` only.
//!
//! The same protocol is spoken at `GET /v1/echo/lines` in the binary messages of a WebSocket, with the subprotocol
//! `lines`, on nodes with development tokens.
//!
//! The first line identifies the client, `quit` ends the connection, and a line over 1 KiB closes it.

use std::rc::Rc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::BytesMut;
use protocol::{CloseCode, ErrorCode};

use super::binary_stream::{BinaryFraming, BinaryStream};
use super::{StreamHandler, TcpProtocol};
use crate::gateway::problem::Problem;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Meter, SessionOver, Subprotocols, check_upgrade, close_echo};
use crate::session::messages::Disconnect;
use crate::session::{ConnectionHandle, Framing, WorkerContext};

/// Maximum size of a line in bytes.
const MAX_LINE: usize = 1_024;

/// Protocol of the line echo.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct LineEcho;

/// Lines of one client.
pub(in crate::gateway) struct EchoedLines {
    link: Rc<ConnectionHandle>,
    /// Bytes of an incomplete line.
    line: BytesMut,
    is_behind: bool,
}

/// Lines as they are.
pub(in crate::gateway) struct PlainLines;

const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &["lines"],
    required: true,
};

pub(in crate::gateway) fn routes(config: &mut web::ServiceConfig) {
    config.service(echo_lines);
}

#[get("/v1/echo/lines")]
async fn echo_lines(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
    greetings: web::Data<UnauthenticatedConnections>,
) -> Result<HttpResponse, Problem> {
    if !worker.config.auth.dev_tokens {
        return Err(Problem::new(ErrorCode::NotFound, "there is no such resource"));
    }
    let checked = check_upgrade(&request, &worker, SUBPROTOCOLS)?;
    let meter = Meter::new(&worker.config, Instant::now());
    let framing = BinaryFraming(PlainLines);
    let connection = (&request, payload);
    checked.open(connection, &worker, Some(&greetings), (meter, framing), |link| {
        let (handler, _) = LineEcho.accept(&worker, link);
        BinaryStream {
            handler,
            max_message: MAX_LINE,
        }
    })
}

impl TcpProtocol for LineEcho {
    type Handler = EchoedLines;
    type Framing = PlainLines;

    fn accept(&self, _worker: &Rc<WorkerContext>, link: &Rc<ConnectionHandle>) -> (EchoedLines, PlainLines) {
        let handler = EchoedLines {
            link: link.clone(),
            line: BytesMut::new(),
            is_behind: false,
        };
        (handler, PlainLines)
    }
}

impl StreamHandler for EchoedLines {
    fn receive(&mut self, bytes: &[u8], _meter: &mut Meter) -> Result<(), CloseCode> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line = self.line.split_to(end + 1).freeze();
            if line[..] == b"quit\n"[..] {
                return Err(CloseCode::Normal);
            }
            self.link.identify();
            self.link.outbox(|outbox| outbox.answer(line));
        }
        self.is_behind = self.link.behind();
        if self.line.len() > MAX_LINE {
            return Err(CloseCode::TooLarge);
        }
        Ok(())
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

impl Framing for PlainLines {
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        out.extend_from_slice(body);
    }

    fn event(&self, _out: &mut BytesMut, _n: u64, _tail: &[u8]) {}

    fn ping(&self, _out: &mut BytesMut, _sent: u64) {}

    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    fn close(&self, out: &mut BytesMut, _code: Option<u16>, _reason: &str) {
        out.extend_from_slice(b"bye\n");
    }
}
