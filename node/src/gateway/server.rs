//! The listener: threads, limits and routes.
//!
//! Put together here and not by `actix_web::HttpServer`, which reads from sockets of the system only: a [`Connection`](
//! super::connection::Connection) is one with a seat and a handle.

use std::cell::RefCell;
use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::{AppConfig, Extensions, Server as Running, fn_service};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, web};
use cluster::Cluster;
use socket2::{Domain, Socket, Type};
use utoipa_actix_web::AppExt;

use super::api::Api;
use super::auth::Auth;
use super::connection::{Io, ThreadConnections};
use super::greetings::Greetings;
use super::rest::LoginRates;
use super::seats::{Seats, usher};
use super::unserved::Unserved;
use super::{api, envelope, seats};
use crate::config::{Config, Server};
use crate::conversation::Conversations;
use crate::relay::Relay;
use crate::session::{Door, Rates, Sessions, Worker};
use crate::telemetry::metrics::{Figures, Metrics};
use crate::user::Attendance;
use crate::user::login::Login;

/// What the gateway is built from.
#[derive(Clone)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// Whose tokens are believed.
    pub auth: Arc<Auth>,
    /// The member of the cluster.
    pub cluster: Cluster,
    /// The way to the conversations.
    pub conversations: Conversations,
    /// Logins.
    pub login: Login,
    /// Where each thread gets its events from.
    pub relay: Relay,
    /// Where each thread's sessions take their seats.
    pub attendance: Attendance,
    /// The sessions of the node.
    pub sessions: Sessions,
    /// What users may ask.
    pub rates: Rates,
    /// Whether sessions are taken.
    pub door: Arc<Door>,
    /// How many connections there may be.
    pub seats: Seats,
    /// How many sessions may not have said whose they are.
    pub greetings: Greetings,
    /// What is counted.
    pub metrics: Metrics,
    /// All figures of the node.
    pub figures: Figures,
}

/// Binds the listener, with the address free at once after a restart although old connections linger.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(settings: &Server) -> std::io::Result<TcpListener> {
    let addr: SocketAddr = settings.http.parse().map_err(std::io::Error::other)?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts the threads that serve the listener. Must be called inside an actix system; the server runs while it is
/// awaited.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(parts: Parts, listener: TcpListener) -> std::io::Result<Running> {
    let settings = parts.config.server.clone();
    let workers = seats::workers(&parts.config);
    let addr = listener.local_addr()?;
    let logins = web::Data::new(LoginRates::new(&parts.config.login));
    let server = Running::build()
        .workers(workers)
        .max_concurrent_connections(parts.seats.accepted_per_worker(workers))
        .shutdown_timeout(settings.shutdown_ms.0.div_ceil(1_000))
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let server = server.listen("http", listener, move || {
        let worker = Worker::start(
            parts.config.clone(),
            parts.auth.clone(),
            parts.conversations.clone(),
            (
                parts.relay.hub(),
                parts.attendance.desk(),
                parts.sessions.clone(),
                parts.rates.clone(),
            ),
            parts.metrics.clone(),
            format!("n{}", parts.cluster.node_id()),
            parts.door.clone(),
        );
        let app = App::new()
            .into_utoipa_app()
            .openapi(api::outline())
            .configure(api::routes);
        let (app, description) = app.split_for_parts();
        let app = app
            .app_data(web::Data::new(worker))
            .app_data(web::Data::new(parts.cluster.clone()))
            .app_data(web::Data::new(parts.figures.clone()))
            .app_data(web::Data::new(parts.greetings.clone()))
            .app_data(logins.clone())
            .app_data(web::Data::new(parts.login.clone()))
            .app_data(web::Data::new(Rc::new(Api::new(description))))
            .default_service(web::to(api::unknown))
            .wrap(from_fn(usher))
            .wrap(envelope::cors(&parts.config.server))
            .wrap(from_fn(envelope::identify));
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(settings.request_timeout_ms.duration())
            .client_disconnect_timeout(settings.linger_ms.duration())
            // What waits beyond this stays in the outbox, where the slow-consumer policy sees it.
            .h1_write_buffer_size(8_192)
            .local_addr(addr)
            .on_connect_ext(|io: &Io, extensions: &mut Extensions| io.introduce(extensions))
            .finish(map_config(
                app.into_factory().map_err(|error: Error| error.error_response()),
                |()| AppConfig::default(),
            ));
        let (settings, seats) = (settings.clone(), parts.seats.clone());
        let per_address = settings.unauthenticated_per_address.div_ceil(workers);
        let all = Unserved::new(seats.per_worker(workers), per_address);
        let all: ThreadConnections = Rc::new(RefCell::new(all));
        fn_service(move |stream: TcpStream| {
            let io = Io::accepted(stream, &settings, &seats, &all);
            let peer = io.peer();
            ready(Ok((io, Protocol::Http1, peer)))
        })
        .and_then(http)
    })?;
    Ok(server.run())
}
