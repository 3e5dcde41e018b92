//! HTTP server: listener, worker threads, limits and routes.
//!
//! It is assembled from `actix_server` and `actix_http` instead of `actix_web::HttpServer`, which reads from plain
//! sockets only. Here every socket is a [`TrackedConnection`](super::connection::TrackedConnection) with a permit and a
//! handle that can close it.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::{AppConfig, Extensions, Server as Running, fn_service};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, web};
use cluster::Cluster;
use socket2::{Domain, SockRef, Socket, Type};
use tokio_rustls::TlsAcceptor;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

use super::api::Api;
use super::cable::{self, PingWheel};
use super::client_stream::{ClientHandshake, ClientStream};
use super::connection_limit::{ConnectionLimiter, refuse_overflow};
#[cfg(feature = "conformance")]
use super::mqtt::FreeTopics;
use super::mqtt::{self, MqttOverTcp};
use super::operator_listener::{self, operator_data};
use super::rest::{KeyRates, LoginRates};
use super::socketio::EngineTable;
#[cfg(feature = "conformance")]
use super::tcp::LineEcho;
use super::tcp::{TcpProtocol, serve_connection};
use super::unauthenticated::UnauthenticatedConnections;
use super::worker_thread::WorkerThread;
use super::{api, description, envelope, front_page, socketio, web_pages};
use crate::admin::NodeAdmin;
use crate::auth::{AdminTokens, ApiKeys, DeviceTokens, LoginService, TokenVerifier, UserAccessCache};
use crate::config::Config;
use crate::forwarding::RequestForwarder;
use crate::presence::PresenceReporter;
use crate::session::{AdmissionControl, SessionRegistry, UserRates};
use crate::shard_client::ShardClient;
use crate::subscription::SubscriptionManager;
use crate::telemetry::metrics::{MetricsRegistry, ServerMetrics};
use crate::tls::{CertificateMetrics, ClientTls};

/// Connections that the kernel queues before they are accepted: all clients of a failed node may come at once.
const BACKLOG: i32 = 4_096;
/// Time to read on after closing a connection, so that the client receives the last bytes instead of a reset.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Dependencies of the gateway.
#[derive(Clone)]
pub struct GatewayDeps {
    pub config: Arc<Config>,
    pub auth: Arc<TokenVerifier>,
    pub admin: NodeAdmin,
    pub admin_tokens: AdminTokens,
    pub cluster: Cluster,
    pub conversations: ShardClient,
    pub login: LoginService,
    pub devices: DeviceTokens,
    pub api_keys: ApiKeys,
    pub access: UserAccessCache,
    pub relay: SubscriptionManager,
    pub presence: PresenceReporter,
    pub sessions: SessionRegistry,
    pub forwarder: RequestForwarder,
    pub rates: UserRates,
    pub admission: Arc<AdmissionControl>,
    pub limiter: ConnectionLimiter,
    pub greetings: UnauthenticatedConnections,
    pub metrics: ServerMetrics,
    pub figures: MetricsRegistry,
    /// TLS of every listener; `None` without a certificate.
    pub tls: Option<ClientTls>,
    pub certificates: CertificateMetrics,
}

/// Bound listeners of a node.
pub struct Listeners {
    pub http: TcpListener,
    /// Listener for operators; `None` if they share that for clients.
    pub admin: Option<TcpListener>,
    pub tcp: Vec<ProtocolListener>,
}

/// Bound listener of a protocol other than HTTP.
pub struct ProtocolListener {
    /// Setting with its address.
    pub setting: &'static str,
    pub protocol: StreamProtocol,
    pub listener: TcpListener,
}

/// Protocol with a TCP listener of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamProtocol {
    Mqtt,
    /// MQTT with the topic tree of the suites for brokers.
    #[cfg(feature = "conformance")]
    MqttTopics,
    #[cfg(feature = "conformance")]
    LineEcho,
}

/// Binds a listener, which refuses connections until [`listen`]. `SO_REUSEADDR` permits a restart while old connections
/// are in `TIME_WAIT`.
///
/// # Errors
/// An address that is malformed or cannot be bound.
pub fn bind(addr: &str) -> std::io::Result<TcpListener> {
    let addr: SocketAddr = addr.parse().map_err(std::io::Error::other)?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Lets a bound listener accept connections.
///
/// # Errors
/// An address that another process listens at since it was bound.
pub fn listen(listener: &TcpListener) -> std::io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

/// Starts the threads that serve the listeners.
///
/// Must be called inside an actix system. The returned server runs while it is awaited.
///
/// # Errors
/// A listener that cannot be used.
pub fn serve(parts: GatewayDeps, listeners: Listeners) -> std::io::Result<Running> {
    let listener = listeners.http;
    let workers = parts.config.threads().clients;
    let addr = listener.local_addr()?;
    // Created outside of the factory closure, which runs once per thread: the rates of an address are those of the
    // node.
    let handshake = parts.handshake(ClientTls::http);
    let logins = web::Data::new(LoginRates::new(&parts.config.tuning));
    let key_rates = web::Data::new(KeyRates::new(parts.config.tuning.api_key_items_per_second));
    let engines = web::Data::new(EngineTable::new(
        parts.cluster.node_id().0,
        parts.forwarder.clone(),
    ));
    let server = Running::build()
        .workers(workers)
        // Above the eviction limit: new connections are accepted while evicted ones still close.
        .max_concurrent_connections(parts.limiter.accepted_per_worker(workers))
        .shutdown_timeout(parts.config.tuning.shutdown_timeout.as_millis().div_ceil(1_000))
        // The node handles signals itself: it drains shards and sessions before the listener stops.
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let server = listeners.tcp.into_iter().try_fold(
        server,
        |builder, listener| -> std::io::Result<ServerBuilder> {
            match listener.protocol {
                StreamProtocol::Mqtt => listen_tcp(builder, listener, &parts, MqttOverTcp),
                #[cfg(feature = "conformance")]
                StreamProtocol::MqttTopics => listen_tcp(builder, listener, &parts, FreeTopics::default()),
                #[cfg(feature = "conformance")]
                StreamProtocol::LineEcho => listen_tcp(builder, listener, &parts, LineEcho),
            }
        },
    )?;
    // They share the port for clients if they have none of their own.
    let has_operators = listeners.admin.is_none();
    let routes: fn(&mut ServiceConfig<'_>) = match has_operators {
        true => api::routes,
        false => api::client_routes,
    };
    let server = match listeners.admin {
        Some(listener) => operator_listener::listen(server, listener, &parts)?,
        None => server,
    };
    // The factory runs once per thread, with clones of the shared dependencies.
    let server = server.listen("http", listener, move || {
        let thread = WorkerThread::current(&parts);
        let app = App::new()
            .into_utoipa_app()
            .openapi(description::outline())
            .configure(routes);
        let (app, description) = app.split_for_parts();
        // Beside the API: these resources are in no description.
        #[cfg(feature = "conformance")]
        let app = app
            .configure(super::websocket::conformance_routes)
            .configure(super::tcp::conformance_routes)
            .configure(socketio::conformance_routes);
        let app = app
            // Beside the API: no description contains the endpoints of other protocols.
            .configure(cable::routes(&parts.config.cable.path))
            .configure(socketio::routes(&parts.config.socketio.path))
            .configure(mqtt::routes(&parts.config.mqtt.path))
            .configure(web_pages::client_routes(&parts.config, has_operators))
            // Behind the chat page, whose route for `/` comes first where it is on.
            .configure(front_page::routes)
            .configure(|config| operator_data(config, &parts))
            .app_data(web::Data::new(PingWheel::start()))
            .app_data(engines.clone())
            .app_data(web::Data::new(thread.worker.clone()))
            .app_data(web::Data::new(parts.greetings.clone()))
            .app_data(logins.clone())
            .app_data(web::Data::new(parts.login.clone()))
            .app_data(web::Data::new(parts.devices.clone()))
            .app_data(web::Data::new(parts.access.clone()))
            .app_data(key_rates.clone())
            .app_data(web::Data::new(Rc::new(Api::new(description))))
            .default_service(web::to(api::unknown))
            // The last wrapped is the outermost: refusals of the connection limit get CORS headers and a request id,
            // too.
            .wrap(from_fn(refuse_overflow))
            .wrap(envelope::cors(&parts.config.server))
            .wrap(from_fn(envelope::identify));
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(parts.config.tuning.request_timeout.0)
            .client_disconnect_timeout(LINGER)
            // Beyond this, frames stay in the outbound queue, where the slow-consumer policy applies.
            .h1_write_buffer_size(8_192)
            .local_addr(addr)
            .on_connect_ext(|stream: &ClientStream, extensions: &mut Extensions| {
                stream.io().promote(extensions);
            })
            .finish(map_config(
                app.into_factory().map_err(|error: Error| error.error_response()),
                |()| AppConfig::default(),
            ));
        let handshake = handshake.clone();
        fn_service(move |stream: TcpStream| {
            let (io, handshake) = (thread.accept(stream), handshake.clone());
            let peer = io.peer();
            async move {
                let stream = handshake.perform(io).await.map_err(DispatchError::Io)?;
                Ok((stream, Protocol::Http1, peer))
            }
        })
        .and_then(http)
    })?;
    Ok(server.run())
}

/// Adds the listener of a protocol other than HTTP.
fn listen_tcp<P: TcpProtocol>(
    server: ServerBuilder,
    ProtocolListener {
        setting, listener, ..
    }: ProtocolListener,
    parts: &GatewayDeps,
    protocol: P,
) -> std::io::Result<ServerBuilder> {
    let (parts, stopping) = (parts.clone(), server.graceful_shutdown_signal());
    let handshake = parts.handshake(ClientTls::stream);
    server.listen(setting, listener, move || {
        let thread = WorkerThread::current(&parts);
        let (protocol, greetings) = (protocol.clone(), parts.greetings.clone());
        let (stopping, handshake) = (stopping.clone(), handshake.clone());
        fn_service(move |stream: TcpStream| {
            let (io, handshake) = (thread.accept(stream), handshake.clone());
            let (stopping, protocol) = (stopping.clone(), protocol.clone());
            let (worker, greetings) = (thread.worker.clone(), greetings.clone());
            async move {
                let stopping = async move { stopping.notified().await };
                // A handshake that failed is counted, and has nobody to answer to.
                if let Ok(stream) = handshake.perform(io).await {
                    serve_connection(stream, worker, greetings, protocol, stopping).await;
                }
                Ok::<(), Infallible>(())
            }
        })
    })
}

// === impl GatewayDeps ===

impl GatewayDeps {
    /// Returns the handshake of a listener, with this acceptor of TLS.
    fn handshake(&self, acceptor: impl Fn(&ClientTls) -> TlsAcceptor) -> ClientHandshake {
        ClientHandshake {
            acceptor: self.tls.as_ref().map(acceptor),
            timeout: self.config.tuning.request_timeout.0,
            metrics: self.certificates.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn bound_listener_refuses_connections_until_it_listens() {
        let listener = bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        listen(&listener).unwrap();
        TcpStream::connect(addr).unwrap();
        assert_eq!(bind(&addr.to_string()).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
