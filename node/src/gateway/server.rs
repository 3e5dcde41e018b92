//! The listener: threads, limits and routes.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use cluster::Cluster;

use super::auth::Auth;
use super::connection::Connection;
use super::{operations, websocket};
use crate::config::Config;
use crate::conversation::Conversations;
use crate::relay::LocalHub;
use crate::session::{Door, Worker};
use crate::telemetry::metrics::{Figures, Metrics};

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
    /// Makes the hub of a thread; called on that thread.
    pub hub: Arc<dyn Fn() -> Rc<LocalHub> + Send + Sync>,
    /// Whether sessions are taken.
    pub door: Arc<Door>,
    /// What is counted.
    pub metrics: Metrics,
    /// All figures of the node.
    pub figures: Figures,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens.
    pub addr: SocketAddr,
    handle: ServerHandle,
    thread: std::thread::JoinHandle<()>,
}

// === impl Gateway ===

impl Gateway {
    /// Binds and serves, on threads of its own.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(parts: Parts) -> std::io::Result<Gateway> {
        let listener = bind(&parts.config)?;
        let addr = listener.local_addr()?;
        let (started, handle) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                // Ends when the server is stopped, through the handle.
                let served = actix_web::rt::System::new().block_on(async move {
                    let server = serve(parts, listener)?;
                    let _nobody = started.send(server.handle());
                    server.await
                });
                if let Err(error) = served {
                    tracing::error!(%error, "the gateway stopped");
                }
            })?;
        let handle = handle
            .await
            .map_err(|_| std::io::Error::other("the gateway did not start"))?;
        Ok(Gateway { addr, handle, thread })
    }

    /// Takes no further connections and waits for the open ones, at most for the configured time.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the gateway's thread panicked");
        }
    }
}

/// Binds with the address free for a restart at once, although old connections linger.
fn bind(config: &Config) -> std::io::Result<TcpListener> {
    let addr: SocketAddr = config.server.http.parse().map_err(std::io::Error::other)?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(config.server.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn serve(parts: Parts, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    let settings = parts.config.server.clone();
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let sockets = settings.clone();
    let server = HttpServer::new(move || {
        let worker = Worker::start(
            parts.config.clone(),
            parts.auth.clone(),
            parts.conversations.clone(),
            (parts.hub)(),
            parts.metrics.clone(),
            format!("n{}", parts.cluster.node_id()),
            parts.door.clone(),
        );
        App::new()
            .app_data(web::Data::new(worker))
            .app_data(web::Data::new(parts.cluster.clone()))
            .app_data(web::Data::new(parts.figures.clone()))
            .route("/livez", web::get().to(operations::livez))
            .route("/readyz", web::get().to(operations::readyz))
            .route("/metrics", web::get().to(operations::metrics))
            .route("/v1/cluster", web::get().to(operations::status))
            .route("/v1/cluster/owner", web::get().to(operations::owner))
            .route("/v1/ws", web::get().to(websocket::upgrade))
            .default_service(web::to(operations::unknown))
    })
    .workers(workers)
    .max_connections(settings.max_connections)
    .client_request_timeout(settings.request_timeout_ms.duration())
    .client_disconnect_timeout(settings.linger_ms.duration())
    // What waits beyond this stays in the outbox, where the slow-consumer policy sees it.
    .h1_write_buffer_size(8_192)
    .on_connect(move |io, extensions| Connection::accepted(io, extensions, &sockets))
    .shutdown_timeout(settings.shutdown_ms.0.div_ceil(1_000))
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}
