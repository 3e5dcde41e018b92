//! `GET /v1/events`: a session whose client only listens, as a stream of server-sent events.
//!
//! A thin reader of the session's outbox, like the [WebSocket's writer](super::websocket::writer), with the same bounds and
//! the same answer to a client that is too slow. What the client has, it says when it comes back: `Last-Event-ID`.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use protocol::close::{CloseCode, Reason, Verdict};
use protocol::event::event_frame;
use protocol::{Cost, limits};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::auth::Identity;
use super::connection::Connection;
use super::problem::Problem;
use super::rest::Caller;
use super::rest::describe::{Asked, Tag};
use crate::session::outbox::{Bounds, Framing, Outbox};
use crate::session::{Link, Newcomer, Point, Session, Transport};
use crate::telemetry::metrics::Metrics;

/// When a client comes back after an end that says nothing else.
const SOON_MS: u64 = 1_000;
/// When a client comes back that should not by itself: it cannot be told never.
const NOT_BY_ITSELF_MS: u64 = 86_400_000;

/// What a client that listens over HTTP says of itself.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Seat {
    /// The device, such as `phone-1`. Only the same device can go on with a session.
    #[param(max_length = 64)]
    device: Option<String>,
    /// Random per start of the app.
    #[param(max_length = 64)]
    instance: Option<String>,
}

/// The last event that the client has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
struct LastEvent {
    /// The `id` of the last event that the client has: the session goes on behind it.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream")]
struct Sent {
    /// `<sid>:<n>`; `bye` and what keeps the connection open have none.
    id: Option<String>,
    /// The event's `t`.
    event: Option<String>,
    /// The event as on a WebSocket, in one line.
    data: Option<String>,
}

/// The response body.
struct EventStream {
    link: Rc<Link>,
    metrics: Metrics,
    framing: SseFraming,
}

/// How an event stream writes what waits.
#[derive(Debug, Default)]
struct SseFraming {
    /// The session's name, once it is known: `ready` says it.
    sid: OnceCell<String>,
}

/// What is taken out of `ready`.
#[derive(Deserialize)]
struct Ready {
    sid: String,
    n: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(listen);
}

/// Streams what happens, as server-sent events.
///
/// The first is `ready`, with the session in its `data`. Every event has the `id` `<sid>:<n>`, its `t` as its name, and
/// one line of `data`. Nothing is missing after a reconnection whose `ready` says `resumed:true`; otherwise the client
/// asks `POST /v1/sync`.
#[utoipa::path(tag = Tag::EVENTS, params(Seat, LastEvent), responses(
    (status = 200, description = "The stream. It ends with the token, when the client is too slow, and when the node is stopped, with a time to come back.",
        body = Sent, content_type = "text/event-stream"),
    Asked
))]
#[get("/v1/events")]
async fn listen(
    caller: Caller,
    request: HttpRequest,
    seat: web::Query<Seat>,
) -> Result<HttpResponse, Problem> {
    caller.may_listen(request.headers(), Cost::SESSION)?;
    let last = request.headers().get("Last-Event-ID");
    let point = last.map(|id| id.to_str().map_or(Point::Nowhere, Point::parse));
    let newcomer = seat.into_inner().newcomer(&caller, point)?;
    let worker = caller.worker().clone();
    let bounds = Bounds::from(&worker.config.limits);
    let link = Link::new(Outbox::new(bounds), Connection::of(&request));
    // Nothing is heard from such a client: its silence means nothing.
    link.hold(true);
    let metrics = worker.metrics.clone();
    let _session = Session::open(worker, link.clone(), Transport::EventStream, Some(newcomer));
    let stream = EventStream {
        link,
        metrics,
        framing: SseFraming::default(),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

// === impl Seat ===

impl Seat {
    /// The device, within its bound.
    pub(super) fn device(&self) -> Result<Option<&str>, Problem> {
        let short = |name: &Option<String>| {
            name.as_ref()
                .is_none_or(|name| name.len() <= limits::DEVICE_BYTES)
        };
        if short(&self.device) && short(&self.instance) {
            return Ok(self.device.as_deref());
        }
        let msg = format!("device and instance have at most {} bytes", limits::DEVICE_BYTES);
        Err(Problem::bad(msg))
    }

    /// The caller as a client of a session.
    pub(super) fn newcomer(self, caller: &Caller, resume: Option<Point>) -> Result<Newcomer, Problem> {
        self.device()?;
        Ok(Newcomer {
            identity: Identity {
                user: caller.user.clone(),
                expires: caller.expires,
                login: caller.login.clone(),
            },
            device: self.device,
            instance: self.instance,
            resume,
            told: None,
        })
    }
}

// === impl EventStream ===

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_piece(cx, &self.framing).map(|piece| {
            piece.map(|piece| {
                self.metrics.writes.inc();
                self.metrics.frames_out.inc_by(piece.frames);
                self.metrics.bytes_out.inc_by(piece.bytes.len() as u64);
                Ok(piece.bytes)
            })
        })
    }
}

/// The server drops the body when the connection is gone.
impl Drop for EventStream {
    fn drop(&mut self) {
        self.link.lose();
    }
}

// === impl SseFraming ===

impl Framing for SseFraming {
    /// The only answer is `ready`.
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        let Ok(ready) = serde_json::from_slice::<Ready>(body) else {
            return;
        };
        let sid = self.sid.get_or_init(|| ready.sid);
        entry(out, Some((sid, ready.n)), b"ready", body);
    }

    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]) {
        let sid = self.sid.get().map_or("", String::as_str);
        let frame = event_frame(n, &String::from_utf8_lossy(tail));
        entry(out, Some((sid, n)), name(tail), frame.as_bytes());
    }

    fn ping(&self, out: &mut BytesMut) {
        out.put_slice(b":\n\n");
    }

    /// There are no pings of the client.
    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    /// When to come back, and the code that a WebSocket would be closed with: at every end, because a client of event
    /// streams that is told nothing comes back when it likes.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str) {
        let code = code.unwrap_or_else(|| CloseCode::Normal.code());
        let retry_ms = serde_json::from_str::<Reason>(reason)
            .map_or_else(|_| come_back_ms(code), |reason| reason.retry_ms);
        out.put_slice(format!("retry: {retry_ms}\n").as_bytes());
        let data = format!(r#"{{"code":{code},"retry_ms":{retry_ms}}}"#);
        entry(out, None, b"close", data.as_bytes());
    }
}

/// When a client comes back whose close says no time.
fn come_back_ms(code: u16) -> u64 {
    match CloseCode::from_code(code) {
        // It went elsewhere. Should it be two that take the device from each other, they are to find out soon.
        Some(CloseCode::Normal) => SOON_MS,
        _ if Verdict::of(code) == Verdict::Stop => NOT_BY_ITSELF_MS,
        _ => SOON_MS,
    }
}

/// Appends one event of the stream.
fn entry(out: &mut BytesMut, id: Option<(&str, u64)>, name: &[u8], data: &[u8]) {
    if let Some((sid, n)) = id {
        out.put_slice(format!("id: {sid}:{n}\n").as_bytes());
    }
    out.put_slice(b"event: ");
    out.put_slice(name);
    out.put_slice(b"\ndata: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// The `t` of an event, with which its tail begins.
fn name(tail: &[u8]) -> &[u8] {
    let behind = tail.strip_prefix(br#""t":""#).unwrap_or_default();
    behind.split(|byte| *byte == b'"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&SseFraming, &mut BytesMut)) -> String {
        let framing = SseFraming::default();
        let _set = framing.sid.set("1ab".to_owned());
        let mut out = BytesMut::new();
        write(&framing, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn an_event_has_an_id_a_name_and_one_line_of_data() {
        let event = text(|framing, out| framing.event(out, 7, br#""t":"msg","c":"g_1"}"#));
        assert_eq!(
            event,
            "id: 1ab:7\nevent: msg\ndata: {\"n\":7,\"t\":\"msg\",\"c\":\"g_1\"}\n\n"
        );
        assert_eq!(text(|framing, out| framing.ping(out)), ":\n\n");
    }

    #[test]
    fn the_first_event_names_the_session() {
        let framing = SseFraming::default();
        let mut out = BytesMut::new();
        framing.answer(&mut out, br#"{"t":"ready","sid":"2c","n":4}"#);
        framing.event(&mut out, 5, br#""t":"bye"}"#);
        let expected = "id: 2c:4\nevent: ready\ndata: {\"t\":\"ready\",\"sid\":\"2c\",\"n\":4}\n\n\
                        id: 2c:5\nevent: bye\ndata: {\"n\":5,\"t\":\"bye\"}\n\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_end_says_when_to_come_back() {
        let ended = text(|framing, out| framing.close(out, Some(4012), r#"{"retry_ms":1830}"#));
        assert_eq!(
            ended,
            "retry: 1830\nevent: close\ndata: {\"code\":4012,\"retry_ms\":1830}\n\n"
        );
        for (code, shown, retry_ms) in [
            (Some(4409), 4409, NOT_BY_ITSELF_MS),
            (Some(4208), 4208, SOON_MS),
            (Some(1000), 1000, SOON_MS),
            (None, 1000, SOON_MS),
        ] {
            let ended = text(|framing, out| framing.close(out, code, ""));
            let data = format!("{{\"code\":{shown},\"retry_ms\":{retry_ms}}}");
            assert_eq!(
                ended,
                format!("retry: {retry_ms}\nevent: close\ndata: {data}\n\n")
            );
        }
    }
}
