//! `GET /v1/ws`: access checks before the switch to the WebSocket protocol.

use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, web};
use actix_web_actors::ws::handshake_with_protocols;
use protocol::{CommandCost, ErrorCode, SUBPROTOCOL, limits};
use utoipa_actix_web::service_config::ServiceConfig;

use super::reader::SocketReader;
use super::writer::SocketWriter;
use crate::auth::TokenIdentity;
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::problem::{Problem, problem, problem_of};
use crate::gateway::rest::describe::{ApiTag, Upgraded};
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::session::{
    AuthenticatedClient, ClientTransport, ConnectionHandle, NodeState, OutboundQueue, QueueBounds,
    ResumePoint, Session, WorkerContext, too_fast,
};

pub(in crate::gateway) fn routes(config: &mut ServiceConfig) {
    config.service(upgrade);
}

/// Opens a session on a WebSocket. The messages are described by `/v1/asyncapi.json`.
#[utoipa::path(tag = ApiTag::OPERATION, security((), ("bearer" = [])), responses(
    (status = 101, description = "The WebSocket is open; /v1/asyncapi.json describes its messages."), Upgraded
))]
#[get("/v1/ws")]
async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
    greetings: web::Data<UnauthenticatedConnections>,
) -> HttpResponse {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let headers = request.headers();
    match worker.order() {
        NodeState::Serve => {}
        NodeState::HandOver | NodeState::Drain => {
            return problem(ErrorCode::Unavailable, "the node is draining");
        }
        NodeState::Isolated => return problem(ErrorCode::Unavailable, "the node has lost quorum"),
    }
    // CORS does not apply to WebSockets, so foreign origins are refused here.
    if !admission::origin_allowed(headers, &worker.config.server) {
        return problem(
            ErrorCode::Forbidden,
            "the origin of this page is not allowed to open sessions",
        );
    }
    if request.version() < Version::HTTP_11 {
        return problem_of(
            StatusCode::UPGRADE_REQUIRED,
            ErrorCode::BadRequest,
            "a WebSocket upgrade needs HTTP/1.1",
        );
    }
    // Optional, but an offered list must contain it: a client of another version is refused before it sends anything.
    let mut offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).peekable();
    let knows = |value: &actix_web::http::header::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL))
    };
    if offered.peek().is_some() && !offered.any(knows) {
        return problem(
            ErrorCode::BadRequest,
            "the only supported subprotocol is chat.v1.json",
        );
    }
    let identity = match admission::bearer(headers) {
        Ok(Some(token)) => worker.auth.verify(token).await.map(Some),
        Ok(None) => Ok(None),
        Err(refused) => Err(refused),
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(refused) => {
            worker.metrics.auth_failures.inc();
            return problem(refused.code(), &refused.to_string());
        }
    };
    // Charged before the handshake: a refusal is a plain HTTP response, cheaper than a connection with a close frame.
    if let Some(TokenIdentity { user, .. }) = &identity {
        let now = Instant::now();
        if let Err(wait) = worker.rates.of(user, now).take(CommandCost::SESSION, now) {
            return Problem::from(too_fast(wait)).error_response();
        }
    }
    let client = match identity.map(|identity| client(headers, identity)).transpose() {
        Ok(client) => client,
        Err(problem) => return problem.error_response(),
    };
    let Ok(mut response) = handshake_with_protocols(&request, &[SUBPROTOCOL]) else {
        return problem_of(
            StatusCode::UPGRADE_REQUIRED,
            ErrorCode::BadRequest,
            "this endpoint accepts only WebSocket upgrades",
        );
    };
    // Only sessions without a token count. The guard is released when the client is identified or the connection ends.
    let greeting = if client.is_some() {
        None
    } else {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let address = admission::client(headers, peer, &worker.config.server);
        let Some(greeting) = greetings.begin(address) else {
            return problem(ErrorCode::Busy, "too many unauthenticated connections are open");
        };
        Some(greeting)
    };
    // Lifts the bound on unidentified HTTP bytes; the frame guard and the meter apply instead.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.upgrade(greeting);
    }
    let config = &worker.config;
    let link = ConnectionHandle::new(
        OutboundQueue::new(QueueBounds::from(&**config)),
        TrackedConnection::of(&request),
    );
    let metrics = worker.metrics.clone();
    let session = Session::open(worker.clone(), link.clone(), ClientTransport::WebSocket, client);
    // Detached: the task ends with the connection or the session, whichever ends first.
    actix_web::rt::spawn(SocketReader::new(link.clone(), session, metrics.clone(), config).run(payload));
    response.streaming(SocketWriter::new(link, metrics))
}

/// Reads device, instance and resume point from the request headers.
fn client(headers: &HeaderMap, identity: TokenIdentity) -> Result<AuthenticatedClient, Problem> {
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
    let point = |value: &actix_web::http::header::HeaderValue| {
        value.to_str().map_or(ResumePoint::Invalid, ResumePoint::parse)
    };
    let device = identity.device_of(name("X-Device")?.as_deref())?;
    Ok(AuthenticatedClient {
        identity,
        device,
        instance: name("X-Instance")?,
        resume: headers.get("X-Resume").map(point),
        ready_sender: None,
    })
}
