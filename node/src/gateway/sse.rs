//! Server-sent events, `GET /v1/events`: a session whose client only receives.
//!
//! The response body reads the session's outbound queue, like the [WebSocket writer](super::websocket::writer), with
//! the same bounds and the same slow-consumer policy. A client confirms events only at its next connection, by
//! `Last-Event-ID`.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use protocol::close::{CloseAdvice, CloseCode, CloseReason};
use protocol::event::event_frame;
use protocol::{CommandCost, limits};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::connection::TrackedConnection;
use super::problem::Problem;
use super::rest::AuthenticatedUser;
use super::rest::describe::{ApiTag, QueryErrors};
use crate::session::{
    AuthenticatedClient, ConnectionHandle, Framing, OutboundQueue, QueueBounds, ResumePoint, Session,
    TransportPolicy,
};
use crate::telemetry::metrics::ServerMetrics;

/// Default reconnect delay in milliseconds.
const SOON_MS: u64 = 1_000;
/// Reconnect delay in milliseconds after a close that forbids reconnecting; `EventSource` has no way to forbid it.
const NOT_BY_ITSELF_MS: u64 = 86_400_000;

/// Query of clients that receive over HTTP.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventStreamQuery {
    /// The device, such as `phone-1`. Only the same device can resume a session.
    #[param(max_length = 64)]
    device: Option<String>,
    /// A random value per start of the app.
    #[param(max_length = 64)]
    instance: Option<String>,
}

/// Header that resumes a session.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
struct LastEventId {
    /// The `id` of the last event that the client has. The session resumes after it.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream")]
struct Sent {
    /// `<sid>:<n>` of the event; absent on the final `close` and on keepalive comments.
    id: Option<String>,
    /// The tag `t` of the event.
    event: Option<String>,
    /// The event as on a WebSocket, in one line of JSON.
    data: Option<String>,
}

/// Response body that streams the outbound queue.
struct EventStream {
    link: Rc<ConnectionHandle>,
    metrics: ServerMetrics,
    framing: SseFraming,
}

/// Framing of queued events as server-sent events.
#[derive(Debug, Default)]
struct SseFraming {
    /// The session id from `ready`, which precedes all events.
    sid: OnceCell<String>,
}

/// Fields taken from the `ready` response.
#[derive(Deserialize)]
struct ReadyInfo {
    sid: String,
    n: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(listen);
}

/// Streams the caller's events as server-sent events.
///
/// The first event is `ready`, with the session in its `data`. Every event has the `id` `<sid>:<n>`, its tag `t` as its
/// name, and one line of `data`. After a reconnection, `resumed:true` in `ready` means that no event is missing.
/// Otherwise the client catches up by `POST /v1/sync`.
#[utoipa::path(tag = ApiTag::EVENTS, params(EventStreamQuery, LastEventId), responses(
    (status = 200, description = "The event stream. It ends when the token expires, the client reads too slowly or the node drains; the final event has the delay before reconnecting.",
        body = Sent, content_type = "text/event-stream"),
    QueryErrors
))]
#[get("/v1/events")]
async fn listen(
    caller: AuthenticatedUser,
    request: HttpRequest,
    query: web::Query<EventStreamQuery>,
) -> Result<HttpResponse, Problem> {
    caller.may_listen(request.headers(), CommandCost::SESSION)?;
    let last = request.headers().get("Last-Event-ID");
    // An unreadable id begins a new session. An error status would end the browser's `EventSource` for good.
    let point = last.map(|id| id.to_str().map_or(ResumePoint::Invalid, ResumePoint::parse));
    let client = query.into_inner().client(&caller, point)?;
    let worker = caller.worker().clone();
    let bounds = QueueBounds::from(&*worker.config);
    let link = ConnectionHandle::new(OutboundQueue::new(bounds), TrackedConnection::of(&request));
    let metrics = worker.metrics.clone();
    let _session = Session::open(worker, link.clone(), TransportPolicy::EVENT_STREAM, Some(client));
    let stream = EventStream {
        link,
        metrics,
        framing: SseFraming::default(),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would buffer the response and delay events.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

// === impl EventStreamQuery ===

impl EventStreamQuery {
    /// Returns the device.
    ///
    /// # Errors
    /// A device or instance beyond its maximum length.
    pub(super) fn device(&self) -> Result<Option<&str>, Problem> {
        let short = |name: &Option<String>| {
            name.as_ref()
                .is_none_or(|name| name.len() <= limits::DEVICE_BYTES)
        };
        if short(&self.device) && short(&self.instance) {
            return Ok(self.device.as_deref());
        }
        let msg = format!(
            "device and instance are limited to {} bytes each",
            limits::DEVICE_BYTES
        );
        Err(Problem::bad(msg))
    }

    /// Returns the caller as the client of a new session.
    pub(super) fn client(
        self,
        caller: &AuthenticatedUser,
        resume: Option<ResumePoint>,
    ) -> Result<AuthenticatedClient, Problem> {
        let identity = caller.identity();
        let device = identity.device_of(self.device()?)?;
        Ok(AuthenticatedClient {
            identity,
            device,
            instance: self.instance,
            resume,
            opened_sender: None,
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

/// Detaches the session: the server drops the body when the connection is closed.
impl Drop for EventStream {
    fn drop(&mut self) {
        self.link.lose();
    }
}

// === impl SseFraming ===

impl Framing for SseFraming {
    /// Writes `ready`, the only response on an event stream.
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        // Responses to commands cannot occur: this client has no way to send one.
        let Ok(ready) = serde_json::from_slice::<ReadyInfo>(body) else {
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

    fn ping(&self, out: &mut BytesMut, _sent: u64) {
        out.put_slice(b":\n\n");
    }

    /// Writes nothing: the client cannot send pings.
    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    /// Writes the reconnect delay and the close code. They are written at every end, because an `EventSource` without a
    /// delay chooses its own.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str) {
        let code = code.unwrap_or_else(|| CloseCode::Normal.code());
        let retry_ms = serde_json::from_str::<CloseReason>(reason)
            .map_or_else(|_| come_back_ms(code), |reason| reason.retry_ms);
        out.put_slice(format!("retry: {retry_ms}\n").as_bytes());
        let data = format!(r#"{{"code":{code},"retry_ms":{retry_ms}}}"#);
        entry(out, None, b"close", data.as_bytes());
    }
}

/// Returns the reconnect delay in milliseconds for a close without one.
fn come_back_ms(code: u16) -> u64 {
    match CloseCode::from_code(code) {
        // The session continues on another connection. Two clients that displace each other shall reach the
        // displacement limit soon.
        Some(CloseCode::Normal) => SOON_MS,
        _ if CloseAdvice::of(code) == CloseAdvice::Stop => NOT_BY_ITSELF_MS,
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

/// Returns the tag `t`, with which the payload of an event begins.
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
        assert_eq!(text(|framing, out| framing.ping(out, 7)), ":\n\n");
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
        for (code, advice, retry_ms) in [
            (Some(4409), 4409, NOT_BY_ITSELF_MS),
            (Some(4208), 4208, SOON_MS),
            (Some(1000), 1000, SOON_MS),
            (None, 1000, SOON_MS),
        ] {
            let ended = text(|framing, out| framing.close(out, code, ""));
            let data = format!("{{\"code\":{advice},\"retry_ms\":{retry_ms}}}");
            assert_eq!(
                ended,
                format!("retry: {retry_ms}\nevent: close\ndata: {data}\n\n")
            );
        }
    }
}
