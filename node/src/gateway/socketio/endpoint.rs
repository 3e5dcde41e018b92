//! Requests at the path of an engine: connections over a WebSocket, connections that poll, and the upgrade of these.

use std::rc::Rc;

use actix_web::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use protocol::ErrorCode;

use super::connection::queued_packet;
use super::engine_app::EngineApp;
use super::engine_entry::EngineEntry;
use super::engine_id::EngineId;
use super::engine_packets::{PolledPackets, WebSocketPackets};
use super::engine_query::{EngineQuery, EngineRefusal, EngineTransport};
use super::engine_reader::EngineReader;
use super::engine_settings::EngineSettings;
use super::engine_table::{EngineTable, FoundEngine};
use super::handler::WebSocketReader;
use super::polled_connection::{self, PolledSocket};
use super::server_packet;
use super::upgrade::{UpgradeReader, UpgradedMessages};
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::connection_limit::UNKNOWN_BYTES;
use crate::gateway::problem::{Problem, problem};
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Subprotocols, check_upgrade};
use crate::session::{
    CLOSE_TIMEOUT, CloseSocket, ConnectionHandle, OutboundQueue, QueueBounds, WorkerContext,
};

/// Result of a request: a response, a refusal of the node, or one of the engine.
type Served = Result<Result<HttpResponse, Problem>, EngineRefusal>;

/// The protocol has no subprotocol.
const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &[],
    required: false,
};

/// Content type of a binary payload, which version 4 of the engine does not have.
const BINARY: &[u8] = b"application/octet-stream";

/// Registers the endpoint of an application at its path, with and without a slash behind it; with an empty path there is
/// none.
pub(super) fn routes<A: EngineApp>(path: &str) -> impl FnOnce(&mut web::ServiceConfig) + use<A> {
    let path = path.trim_end_matches('/').to_owned();
    move |config| {
        if !path.is_empty() {
            let paths = [path.clone(), format!("{path}/")];
            config.service(web::resource(paths).to(serve::<A>));
        }
    }
}

async fn serve<A: EngineApp>(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
    greetings: web::Data<UnauthenticatedConnections>,
    table: web::Data<EngineTable>,
) -> HttpResponse {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let EngineQuery {
        transport,
        sid,
        poll_id,
    } = match EngineQuery::parse(request.query_string()) {
        Ok(query) => query,
        Err(refusal) => return refusal.response(),
    };
    if !A::is_served(&worker.config) {
        return problem(ErrorCode::NotFound, "there is no such resource");
    }
    let settings = A::settings(&worker.config);
    let method = request.method().clone();
    let served = match (transport, sid) {
        (EngineTransport::Polling, Some(sid)) if method == Method::GET => {
            let found = table.find(&sid);
            poll(&request, found, poll_id, &settings).await
        }
        (EngineTransport::Polling, Some(sid)) if method == Method::POST => {
            post((&request, payload), &table, &settings, &sid).await
        }
        (_, Some(_)) if method != Method::GET => Err(EngineRefusal::BadRequest),
        (_, None) if method != Method::GET => Err(EngineRefusal::Method),
        (EngineTransport::Polling, _) => Ok(open_polled::<A>(&request, &worker, &greetings, &table)),
        (EngineTransport::WebSocket, _) if !asks_for_upgrade(&request) => Err(EngineRefusal::BadRequest),
        (EngineTransport::WebSocket, None) => Ok(open::<A>((&request, payload), &worker, &greetings)),
        (EngineTransport::WebSocket, Some(sid)) => match table.find(&sid) {
            Ok(FoundEngine::Here(engine)) => {
                Ok(upgrade::<A>((&request, payload), &worker, &greetings, engine))
            }
            // The client goes on with its polls.
            Ok(FoundEngine::Elsewhere(_)) => Err(EngineRefusal::BadRequest),
            Err(refusal) => Err(refusal),
        },
    };
    match served {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.error_response(),
        Err(refusal) => refusal.response(),
    }
}

/// Opens an engine connection that polls.
fn open_polled<A: EngineApp>(
    request: &HttpRequest,
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
    table: &EngineTable,
) -> Result<HttpResponse, Problem> {
    admission::may_open_session(worker, request.headers())?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let address = admission::client(request.headers(), peer, &worker.config.server);
    let guard = greetings.admit(address)?;
    let settings = A::settings(&worker.config);
    let (id, calls) = table.add();
    let socket = PolledSocket::new(&calls, guard);
    let bounds = QueueBounds::from(&*worker.config);
    let link = ConnectionHandle::new(OutboundQueue::new(bounds), socket.handle());
    let output = A::output();
    let input = A::input(worker, &link, output.clone(), &settings);
    let metrics = worker.metrics.clone();
    let reader = EngineReader::new(input, link.clone(), metrics.clone());
    polled_connection::start(
        (table.clone(), id),
        calls,
        (socket, link),
        (reader, PolledPackets(output)),
        (A::meter(&worker.config), metrics),
        settings.idle_timeout(),
    );
    let mut packet = BytesMut::new();
    server_packet::open(&mut packet, &id.to_string(), true, &settings);
    Ok(payload_response(packet.freeze()))
}

/// Waits for the next payload of a connection.
async fn poll(
    request: &HttpRequest,
    found: Result<FoundEngine, EngineRefusal>,
    id: Option<String>,
    settings: &EngineSettings,
) -> Served {
    let (is_identified, payload) = found?.poll(id, settings.ping_interval).await?;
    if is_identified {
        identify(request);
    }
    Ok(Ok(payload_response(payload)))
}

/// Hands the payload of a request to a connection.
async fn post(
    (request, payload): (&HttpRequest, web::Payload),
    table: &EngineTable,
    settings: &EngineSettings,
    sid: &str,
) -> Served {
    let engine = table.find(sid)?;
    // Lifts the bound on unidentified data before the body is read. Another node is asked only for a body that may
    // exceed it.
    let is_asked = matches!(engine, FoundEngine::Here(_)) || !is_small(request);
    if is_asked && engine.is_identified().await? {
        identify(request);
    }
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(BINARY)) {
        return Err(EngineRefusal::BadRequest);
    }
    let Some(payload) = read_body(payload, settings.max_payload).await? else {
        return Ok(Ok(HttpResponse::build(StatusCode::PAYLOAD_TOO_LARGE).finish()));
    };
    engine.post(payload).await?;
    Ok(Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body("ok")))
}

/// Returns true if the body of a request is within the bound on unidentified data for certain.
fn is_small(request: &HttpRequest) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: usize| length <= UNKNOWN_BYTES / 2)
}

/// Reads the text of a body. `None`: it is longer than `max` bytes.
///
/// # Errors
/// A body that is lost or no text.
async fn read_body(mut payload: web::Payload, max: usize) -> Result<Option<String>, EngineRefusal> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| EngineRefusal::BadRequest)?;
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(body.to_vec());
    text.map(Some).map_err(|_| EngineRefusal::BadRequest)
}

/// Opens the WebSocket that replaces the polls of a connection.
fn upgrade<A: EngineApp>(
    connection: (&HttpRequest, web::Payload),
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
    engine: EngineEntry,
) -> Result<HttpResponse, Problem> {
    let checked = check_upgrade(connection.0, worker, SUBPROTOCOLS)?;
    let unauthenticated = (!engine.is_identified()).then_some(greetings);
    let framing = (A::meter(&worker.config), UpgradedMessages);
    let max = A::settings(&worker.config).max_payload;
    checked.open(connection, worker, unauthenticated, framing, |link| {
        if engine.has_upgrade() {
            // Accepted and closed: a browser shows its page no status of a refused upgrade.
            link.close(None, None, false, CLOSE_TIMEOUT);
        }
        UpgradeReader::new(link, engine, max)
    })
}

/// Marks the connection of a request as that of an authenticated client. The id of the engine proves it: nobody can guess
/// it.
fn identify(request: &HttpRequest) {
    if let Some(connection) = TrackedConnection::under(request) {
        connection.identified();
    }
}

fn payload_response(payload: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; charset=UTF-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(payload)
}

/// Opens an engine connection over a WebSocket.
fn open<A: EngineApp>(
    connection: (&HttpRequest, web::Payload),
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
) -> Result<HttpResponse, Problem> {
    let checked = check_upgrade(connection.0, worker, SUBPROTOCOLS)?;
    let settings = A::settings(&worker.config);
    let output = A::output();
    let framing = (A::meter(&worker.config), WebSocketPackets(output.clone()));
    checked.open(connection, worker, Some(greetings), framing, |link| {
        // The id is of no use: the connection ends with its WebSocket.
        let id = EngineId::draw(0).to_string();
        let packet = queued_packet(|out| server_packet::open(out, &id, false, &settings));
        link.outbox(|outbox| outbox.answer(packet));
        let input = A::input(worker, link, output, &settings);
        WebSocketReader(EngineReader::new(input, link.clone(), worker.metrics.clone()))
    })
}

fn asks_for_upgrade(request: &HttpRequest) -> bool {
    request.headers().contains_key(CONNECTION) && request.headers().contains_key(UPGRADE)
}
