//! `GET /v1/ws`: who may come in, before the protocol is switched.

use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, web};
use actix_web_actors::ws::handshake_with_protocols;
use protocol::{Cost, ErrorCode, SUBPROTOCOL, limits};
use utoipa_actix_web::service_config::ServiceConfig;

use super::reader::Reader;
use super::writer::Writer;
use crate::gateway::admission;
use crate::gateway::auth::Identity;
use crate::gateway::connection::Connection;
use crate::gateway::greetings::Greetings;
use crate::gateway::problem::{Problem, problem, problem_of};
use crate::gateway::rest::describe::{Tag, Upgraded};
use crate::session::outbox::{Bounds, Outbox};
use crate::session::{Link, Newcomer, Order, Point, Session, Transport, Worker, too_fast};

pub(in crate::gateway) fn routes(config: &mut ServiceConfig) {
    config.service(upgrade);
}

/// Opens a session on a WebSocket.
#[utoipa::path(tag = Tag::OPERATION, security((), ("bearer" = [])), responses(
    (status = 101, description = "It is open: /v1/asyncapi.json describes what is said."), Upgraded
))]
#[get("/v1/ws")]
async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<Worker>>,
    greetings: web::Data<Greetings>,
) -> HttpResponse {
    let worker: Rc<Worker> = Rc::clone(&worker);
    let headers = request.headers();
    match worker.order() {
        Order::Serve => {}
        Order::HandOver | Order::Drain => {
            return problem(ErrorCode::Unavailable, "the node is being stopped");
        }
        Order::Isolated => return problem(ErrorCode::Unavailable, "the node has no majority"),
    }
    if !admission::origin_allowed(headers, &worker.config.server) {
        return problem(ErrorCode::Forbidden, "sessions are not opened from this origin");
    }
    if request.version() < Version::HTTP_11 {
        return problem_of(
            StatusCode::UPGRADE_REQUIRED,
            ErrorCode::BadRequest,
            "a WebSocket begins with a request of HTTP/1.1",
        );
    }
    let mut offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).peekable();
    let knows = |value: &actix_web::http::header::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL))
    };
    if offered.peek().is_some() && !offered.any(knows) {
        return problem(ErrorCode::BadRequest, "the only subprotocol is chat.v1.json");
    }
    let identity =
        match admission::bearer(headers).and_then(|token| token.map(|t| worker.auth.check(t)).transpose()) {
            Ok(identity) => identity,
            Err(refused) => {
                worker.metrics.auth_failures.inc();
                return problem(refused.code(), &refused.to_string());
            }
        };
    if let Some(Identity { user, .. }) = &identity {
        let now = Instant::now();
        if let Err(wait) = worker.rates.of(user, now).take(Cost::SESSION, now) {
            return Problem::from(too_fast(wait)).error_response();
        }
    }
    let newcomer = match identity.map(|identity| newcomer(headers, identity)).transpose() {
        Ok(newcomer) => newcomer,
        Err(problem) => return problem.error_response(),
    };
    let Ok(mut response) = handshake_with_protocols(&request, &[SUBPROTOCOL]) else {
        return problem_of(
            StatusCode::UPGRADE_REQUIRED,
            ErrorCode::BadRequest,
            "this is a WebSocket endpoint",
        );
    };
    let greeting = if newcomer.is_some() {
        None
    } else {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let address = admission::client(headers, peer, &worker.config.server);
        let Some(greeting) = greetings.begin(address) else {
            return problem(ErrorCode::Busy, "too many sessions without a token are open");
        };
        Some(greeting)
    };
    if let Some(connection) = Connection::under(&request) {
        connection.upgrade(greeting);
    }
    let limits = &worker.config.limits;
    let link = Link::new(Outbox::new(Bounds::from(limits)), Connection::of(&request));
    let metrics = worker.metrics.clone();
    let session = Session::open(worker.clone(), link.clone(), Transport::WebSocket, newcomer);
    // Ends with the connection or the session, whichever is first.
    actix_web::rt::spawn(Reader::new(link.clone(), session, metrics.clone(), limits).run(payload));
    response.streaming(Writer::new(link, metrics))
}

/// What the headers say beside the token.
fn newcomer(headers: &HeaderMap, identity: Identity) -> Result<Newcomer, Problem> {
    let name = |header: &str| {
        let Some(value) = headers.get(header) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(name) if name.len() <= limits::DEVICE_BYTES => Ok(Some(name.to_owned())),
            _ => Err(Problem::bad(format!(
                "{header} must be text of at most {} bytes",
                limits::DEVICE_BYTES
            ))),
        }
    };
    let point =
        |value: &actix_web::http::header::HeaderValue| value.to_str().map_or(Point::Nowhere, Point::parse);
    Ok(Newcomer {
        identity,
        device: name("X-Device")?,
        instance: name("X-Instance")?,
        resume: headers.get("X-Resume").map(point),
        told: None,
    })
}
