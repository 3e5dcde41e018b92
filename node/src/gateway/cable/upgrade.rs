//! `GET /cable`: access checks, and the begin of a session.

use std::rc::Rc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::BytesMut;
use protocol::CloseCode;

use super::access::{CableCredentials, CableQuery};
use super::connection::CableConnection;
use super::framing::{CableMessages, farewell};
use super::handler::CableCommands;
use super::ping_wheel::PingWheel;
use super::refused::{self, RefusalMessages, RefusedClient};
use super::server_frame;
use super::subscription_table::SubscriptionLimits;
use super::translator::CableTranslator;
use crate::auth::TokenError;
use crate::gateway::problem::Problem;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Meter, Subprotocols, WebSocketUpgrade, check_upgrade, route_at};
use crate::session::{
    AuthenticatedClient, CLOSE_TIMEOUT, SessionHandle, TransportPolicy, WorkerContext, admit_client,
};

/// Subprotocol of AnyCable, with history and continued sessions.
const EXTENDED: &str = "actioncable-v1-ext-json";
/// The handshake must choose one: the client of Rails ignores all messages otherwise.
const SUBPROTOCOLS: Subprotocols = Subprotocols {
    names: &["actioncable-v1-json", EXTENDED],
    required: true,
};
/// Bytes of all identifiers of a connection, within which they fit into the state of a session.
const IDENTIFIER_BYTES: usize = 40 << 10;

/// Registers the endpoint at its path; with an empty one there is none.
pub(in crate::gateway) fn routes(path: &str) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    route_at(path, upgrade)
}

/// Opens a session that speaks ActionCable.
async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    query: web::Query<CableQuery>,
    worker: web::Data<Rc<WorkerContext>>,
    wheel: web::Data<Rc<PingWheel>>,
    greetings: web::Data<UnauthenticatedConnections>,
) -> Result<HttpResponse, Problem> {
    let worker: Rc<WorkerContext> = Rc::clone(&worker);
    let checked = check_upgrade(&request, &worker, SUBPROTOCOLS)?;
    let token_in_url = worker.config.cable.token_in_url;
    let credentials = CableCredentials::read(request.headers(), query.into_inner(), token_in_url);
    let is_extended = checked.subprotocol == Some(EXTENDED);
    let refusal = match admit(&worker, credentials, is_extended).await {
        Ok(client) => return open(checked, (&request, payload), &worker, &wheel, client),
        Err(refusal) => refusal,
    };
    match refused::close_code(refusal.code()) {
        Some(code) => refuse(checked, (&request, payload), &worker, &greetings, code),
        None => Err(refusal),
    }
}

/// Admits a client. That of the extended protocol may continue a session.
async fn admit(
    worker: &WorkerContext,
    credentials: Result<CableCredentials, TokenError>,
    is_extended: bool,
) -> Result<AuthenticatedClient, Problem> {
    let CableCredentials { client, restored } = credentials.inspect_err(|_| {
        worker.metrics.auth_failures.inc();
    })?;
    let mut client = admit_client(worker, client).await?;
    client.resume = restored.filter(|_| is_extended);
    Ok(client)
}

fn open(
    checked: WebSocketUpgrade,
    connection: (&HttpRequest, web::Payload),
    worker: &Rc<WorkerContext>,
    wheel: &PingWheel,
    client: AuthenticatedClient,
) -> Result<HttpResponse, Problem> {
    let limits = SubscriptionLimits {
        count: worker.config.limits.subscriptions_per_session,
        bytes: IDENTIFIER_BYTES,
    };
    let is_extended = checked.subprotocol == Some(EXTENDED);
    let translator = CableTranslator::new(client.identity.user.clone(), is_extended, limits);
    let cable = CableConnection::new(translator);
    let meter = Meter::new(&worker.config, Instant::now());
    let framing = CableMessages(cable.clone());
    checked.open(connection, worker, None, (meter, framing), |link| {
        cable.attach(link);
        wheel.add(&cable);
        let policy = TransportPolicy::GATEWAY;
        let session = SessionHandle::open(worker.clone(), link.clone(), policy, Some(client));
        CableCommands::new(cable, session, worker)
    })
}

/// Accepts the upgrade, and ends the connection with the reason.
fn refuse(
    checked: WebSocketUpgrade,
    connection: (&HttpRequest, web::Payload),
    worker: &WorkerContext,
    greetings: &UnauthenticatedConnections,
    code: CloseCode,
) -> Result<HttpResponse, Problem> {
    let meter = Meter::new(&worker.config, Instant::now());
    checked.open(
        connection,
        worker,
        Some(greetings),
        (meter, RefusalMessages),
        |link| {
            if let Some((reason, reconnect)) = farewell(Some(code.code())) {
                let mut frame = BytesMut::new();
                server_frame::disconnect(&mut frame, reason, reconnect);
                link.outbox(|outbox| outbox.answer(frame.freeze()));
            }
            link.close(Some(code.code()), None, false, CLOSE_TIMEOUT);
            RefusedClient
        },
    )
}
