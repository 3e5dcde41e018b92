//! `GET /v1/ws`: the native protocol over a WebSocket.

use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, get, web};
use protocol::{CommandCost, SUBPROTOCOL, limits};
use utoipa_actix_web::service_config::ServiceConfig;

use super::frame_writer::JsonMessages;
use super::json_commands::JsonCommands;
use super::meter::Meter;
use super::upgrade::{Subprotocols, check};
use crate::auth::TokenIdentity;
use crate::gateway::admission;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, Upgraded};
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::session::{
    AuthenticatedClient, ResumePoint, SessionHandle, TransportPolicy, WorkerContext, too_fast,
};

/// Optional, but an offered list must contain it.
const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &[SUBPROTOCOL],
    required: false,
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
) -> Result<HttpResponse, Problem> {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let checked = check(&request, &worker, SUBPROTOCOLS)?;
    let headers = request.headers();
    let identity = match admission::bearer(headers) {
        Ok(Some(token)) => worker.auth.verify(token).await.map(Some),
        Ok(None) => Ok(None),
        Err(refused) => Err(refused),
    };
    let identity = identity.inspect_err(|_| {
        worker.metrics.auth_failures.inc();
    })?;
    // Charged before the handshake: a refusal is a plain HTTP response, cheaper than a connection with a close frame.
    if let Some(TokenIdentity { user, .. }) = &identity {
        let now = Instant::now();
        let charged = worker.rates.of(user, now).take(CommandCost::SESSION, now);
        charged.map_err(too_fast)?;
    }
    let client = identity.map(|identity| client(headers, identity)).transpose()?;
    // Only sessions without a token count as unauthenticated.
    let unauthenticated = client.is_none().then_some(&**greetings);
    let meter = Meter::new(&worker.config, Instant::now());
    checked.open(
        (&request, payload),
        &worker,
        unauthenticated,
        (meter, JsonMessages),
        |link| {
            let policy = TransportPolicy::WEBSOCKET;
            let session = SessionHandle::open(worker.clone(), link.clone(), policy, client);
            JsonCommands::new(session, &worker.config)
        },
    )
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
        opened_sender: None,
    })
}
