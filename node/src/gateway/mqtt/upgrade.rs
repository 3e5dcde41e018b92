//! `GET /mqtt`: packets in the binary messages of a WebSocket.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::CloseCode;

use super::connection::MqttConnection;
use super::framing::MqttFraming;
use super::handler::MqttHandler;
use crate::gateway::problem::Problem;
use crate::gateway::tcp::{BinaryFraming, BinaryStream};
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Meter, Subprotocols, check_upgrade};
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle, WorkerContext};

const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &["mqtt"],
    required: true,
};

/// Registers the endpoint at its path; with an empty one there is none.
pub(in crate::gateway) fn routes(path: &str) -> impl FnOnce(&mut web::ServiceConfig) {
    let resource = (!path.is_empty()).then(|| web::resource(path.to_owned()).route(web::get().to(upgrade)));
    move |config| {
        if let Some(resource) = resource {
            config.service(resource);
        }
    }
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

/// Closes a connection whose client is not authenticated in time: it has no session that would do so.
fn close_unidentified(link: &Rc<ConnectionHandle>, patience: Duration) {
    let link = Rc::downgrade(link);
    actix_web::rt::spawn(async move {
        tokio::time::sleep(patience).await;
        if let Some(link) = link.upgrade().filter(|link| !link.is_identified()) {
            link.close(Some(CloseCode::NoAuth.code()), None, false, CLOSE_TIMEOUT);
        }
    });
}
