//! `GET /mqtt`: packets in the binary messages of a WebSocket.

use std::rc::Rc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};

use super::connection::MqttConnection;
use super::framing::MqttFraming;
use super::handler::MqttHandler;
use crate::gateway::problem::Problem;
use crate::gateway::tcp::{BinaryFraming, BinaryStream};
use crate::gateway::unauthenticated::{UnauthenticatedConnections, close_unidentified};
use crate::gateway::websocket::{Meter, Subprotocols, check_upgrade, route_at};
use crate::session::WorkerContext;

const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &["mqtt"],
    required: true,
};

/// Registers the endpoint at its path; with an empty one there is none.
pub(in crate::gateway) fn routes(path: &str) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    route_at(path, upgrade)
}

async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Rc<WorkerContext>>,
    greetings: web::Data<UnauthenticatedConnections>,
) -> Result<HttpResponse, Problem> {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let checked = check_upgrade(&request, &worker, SUBPROTOCOLS)?;
    let connection = MqttConnection::new();
    let meter = Meter::new(&worker.config, Instant::now());
    let framing = BinaryFraming(MqttFraming(connection.clone()));
    checked.open(
        (&request, payload),
        &worker,
        Some(&greetings),
        (meter, framing),
        |link| {
            close_unidentified(link, worker.config.tuning.auth_timeout.0);
            BinaryStream {
                handler: MqttHandler::new(worker.clone(), link.clone(), connection),
                max_message: worker.config.max_frame(),
            }
        },
    )
}
