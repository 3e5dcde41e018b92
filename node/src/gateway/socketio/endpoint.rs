//! Requests at the path of the engine: connections over a WebSocket, connections that poll, and the upgrade of these.

use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, UPGRADE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::commands::SocketIoCommands;
use super::connection::{SocketIoConnection, queued_packet};
use super::engine_id::EngineId;
use super::engine_packets::{PolledPackets, WebSocketPackets};
use super::engine_query::{EngineQuery, EngineRefusal, EngineTransport};
use super::engine_reader::EngineReader;
use super::engine_settings::EngineSettings;
use super::engine_table::{EngineEntry, EngineTable};
use super::handler::WebSocketReader;
use super::polled_connection::{self, PolledSocket};
use super::server_packet;
use super::upgrade::{UpgradeReader, UpgradedMessages};
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::problem::Problem;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Meter, Subprotocols, check_upgrade};
use crate::session::{ConnectionHandle, OutboundQueue, QueueBounds, WorkerContext};

/// The protocol has no subprotocol.
const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &[],
    required: false,
};

/// Registers the endpoint at its path, with and without a slash behind it; with an empty path there is none.
pub(in crate::gateway) fn routes(path: &str) -> impl FnOnce(&mut web::ServiceConfig) {
    let path = path.trim_end_matches('/').to_owned();
    move |config| {
        if !path.is_empty() {
            let paths = [path.clone(), format!("{path}/")];
            config.service(web::resource(paths).to(serve));
        }
    }
}

async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
    greetings: web::Data<UnauthenticatedConnections>,
    table: web::Data<EngineTable>,
) -> HttpResponse {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let EngineQuery { transport, sid } = match EngineQuery::parse(request.query_string()) {
        Ok(query) => query,
        Err(refusal) => return refusal.response(),
    };
    let method = request.method().clone();
    let served = match (transport, sid) {
        (EngineTransport::Polling, Some(sid)) if method == Method::GET => poll(&request, &table, &sid).await,
        (EngineTransport::Polling, Some(sid)) if method == Method::POST => {
            post((&request, payload), &worker, &table, &sid).await
        }
        (_, Some(_)) if method != Method::GET => Err(EngineRefusal::BadRequest),
        (_, None) if method != Method::GET => Err(EngineRefusal::Method),
        (EngineTransport::Polling, _) => Ok(open_polled(&request, &worker, &greetings, &table)),
        (EngineTransport::WebSocket, _) if !asks_for_upgrade(&request) => Err(EngineRefusal::BadRequest),
        (EngineTransport::WebSocket, None) => Ok(open((&request, payload), &worker, &greetings)),
        (EngineTransport::WebSocket, Some(sid)) => table
            .find(&sid)
            .map(|engine| upgrade((&request, payload), &worker, &greetings, engine)),
    };
    match served {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.error_response(),
        Err(refusal) => refusal.response(),
    }
}

/// Result of a request: a response, a refusal of the node, or one of the engine.
type Served = Result<Result<HttpResponse, Problem>, EngineRefusal>;

/// Opens an engine connection that polls.
fn open_polled(
    request: &HttpRequest,
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
    table: &EngineTable,
) -> Result<HttpResponse, Problem> {
    admission::may_open_session(worker, request.headers())?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let address = admission::client(request.headers(), peer, &worker.config.server);
    let guard = greetings.admit(address)?;
    let settings = EngineSettings::from(&*worker.config);
    let (id, calls) = table.add();
    let socket = PolledSocket::new(&calls, guard);
    let bounds = QueueBounds::from(&*worker.config);
    let link = ConnectionHandle::new(OutboundQueue::new(bounds), socket.handle());
    let client = Rc::new(SocketIoConnection::default());
    let commands = SocketIoCommands::open(worker, &link, client.clone(), &settings);
    let metrics = worker.metrics.clone();
    let reader = EngineReader::new(commands, link.clone(), metrics.clone());
    polled_connection::start(
        (table.clone(), id),
        calls,
        (socket, link),
        (reader, PolledPackets(client)),
        (Meter::new(&worker.config, Instant::now()), metrics),
    );
    let mut packet = BytesMut::new();
    server_packet::open(&mut packet, &id.to_string(), true, &settings);
    Ok(payload_response(packet.freeze()))
}

/// Waits for the next payload of a connection.
async fn poll(request: &HttpRequest, table: &EngineTable, sid: &str) -> Served {
    let engine = table.find(sid)?;
    identify(request, &engine);
    let payload = engine.poll().await?;
    identify(request, &engine);
    Ok(Ok(payload_response(payload)))
}

/// Hands the payload of a request to a connection.
async fn post(
    (request, payload): (&HttpRequest, web::Payload),
    worker: &WorkerContext,
    table: &EngineTable,
    sid: &str,
) -> Served {
    let engine = table.find(sid)?;
    // Lifts the bound on unidentified data before the body is read.
    identify(request, &engine);
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_binary = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
    if is_binary {
        return Err(EngineRefusal::BadRequest);
    }
    let Some(payload) = read_body(payload, EngineSettings::from(&*worker.config).max_payload).await? else {
        return Ok(Ok(HttpResponse::build(StatusCode::PAYLOAD_TOO_LARGE).finish()));
    };
    engine.post(payload).await?;
    Ok(Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body("ok")))
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
fn upgrade(
    connection: (&HttpRequest, web::Payload),
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
    engine: EngineEntry,
) -> Result<HttpResponse, Problem> {
    let checked = check_upgrade(connection.0, worker, SUBPROTOCOLS)?;
    let unauthenticated = (!engine.is_identified()).then_some(greetings);
    let meter = Meter::new(&worker.config, Instant::now());
    let max = EngineSettings::from(&*worker.config).max_payload;
    checked.open(
        connection,
        worker,
        unauthenticated,
        (meter, UpgradedMessages),
        |link| UpgradeReader::new(link, engine, max),
    )
}

/// Marks the connection of a request as that of an authenticated client, whose id nobody can guess.
fn identify(request: &HttpRequest, engine: &EngineEntry) {
    if engine.is_identified()
        && let Some(connection) = TrackedConnection::under(request)
    {
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
fn open(
    connection: (&HttpRequest, web::Payload),
    worker: &Rc<WorkerContext>,
    greetings: &UnauthenticatedConnections,
) -> Result<HttpResponse, Problem> {
    let checked = check_upgrade(connection.0, worker, SUBPROTOCOLS)?;
    let settings = EngineSettings::from(&*worker.config);
    let client = Rc::new(SocketIoConnection::default());
    let meter = Meter::new(&worker.config, Instant::now());
    let packets = WebSocketPackets(client.clone());
    checked.open(connection, worker, Some(greetings), (meter, packets), |link| {
        // The id is of no use: the connection ends with its WebSocket.
        let id = EngineId::draw(0).to_string();
        let packet = queued_packet(|out| server_packet::open(out, &id, false, &settings));
        link.outbox(|outbox| outbox.answer(packet));
        let commands = SocketIoCommands::open(worker, link, client, &settings);
        WebSocketReader(EngineReader::new(commands, link.clone(), worker.metrics.clone()))
    })
}

fn asks_for_upgrade(request: &HttpRequest) -> bool {
    request.headers().contains_key(CONNECTION) && request.headers().contains_key(UPGRADE)
}
