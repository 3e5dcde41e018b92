//! `GET /v1/ws`: who may come in, before the protocol is switched.

use std::rc::{Rc, Weak};

use actix_web::http::StatusCode;
use actix_web::http::header::SEC_WEBSOCKET_PROTOCOL;
use actix_web::{HttpRequest, HttpResponse, get, web};
use actix_web_actors::ws::handshake_with_protocols;
use protocol::{ErrorCode, SUBPROTOCOL};
use utoipa_actix_web::service_config::ServiceConfig;

use super::reader::Reader;
use super::writer::Writer;
use crate::gateway::admission;
use crate::gateway::connection::Connection;
use crate::gateway::problem::{problem, problem_of};
use crate::gateway::rest::describe::{Tag, Upgraded};
use crate::session::outbox::{Bounds, Outbox};
use crate::session::{Cut, Link, Order, Session, Worker};

pub(in crate::gateway) fn routes(config: &mut ServiceConfig) {
    config.service(upgrade);
}

/// Opens a session on a WebSocket.
#[utoipa::path(tag = Tag::OPERATION, security((), ("bearer" = [])), responses(
    (status = 101, description = "It is open: /v1/asyncapi.json describes what is said."), Upgraded
))]
#[get("/v1/ws")]
async fn upgrade(request: HttpRequest, payload: web::Payload, worker: web::Data<Rc<Worker>>) -> HttpResponse {
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
    let wants_resume = headers.contains_key("X-Resume");
    let Ok(mut response) = handshake_with_protocols(&request, &[SUBPROTOCOL]) else {
        return problem_of(
            StatusCode::UPGRADE_REQUIRED,
            ErrorCode::BadRequest,
            "this is a WebSocket endpoint",
        );
    };
    let socket: Weak<dyn Cut> = match request.conn_data::<Rc<Connection>>() {
        Some(connection) => {
            let weak: Weak<Connection> = Rc::downgrade(connection);
            weak
        }
        None => Weak::<Connection>::new(),
    };
    let limits = &worker.config.limits;
    let link = Link::new(Outbox::new(Bounds::from(limits)), socket);
    let metrics = worker.metrics.clone();
    let session = Session::open(worker.clone(), link.clone(), identity, wants_resume);
    // Ends with the connection or the session, whichever is first.
    actix_web::rt::spawn(Reader::new(link.clone(), session, metrics.clone(), limits).run(payload));
    response.streaming(Writer::new(link, metrics))
}
