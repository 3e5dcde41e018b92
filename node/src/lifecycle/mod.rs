//! Lifecycle of a node: defines the order of start and stop.
//!
//! ```text
//! start:  disk → threads of the cluster → transport → conversations → cluster member → gateway
//! stop:   hand over shards → close sessions → wait for other nodes to fetch them → gateway → conversations → cluster member → disk
//! ```
//! Each step of the stop has a deadline, and the disk closes last.

pub mod shutdown;

mod parts;
mod patience;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use cluster::transport::{BindError, ClusterSecret, TcpTransport, TransportConfig};
use cluster::{Cluster, ClusterClock};
use storage::Store;
use tokio::sync::oneshot;

use self::patience::{Patience, is_address_held};
use self::threads::{ActorRuntime, ClusterRuntime};
use crate::auth::{KeyringCache, LoginService, RevocationList, token_verifier};
use crate::config::Config;
use crate::gateway::connection_limit::{self, ConnectionLimiter, FileLimit};
use crate::gateway::server;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::service::ChatService;
use crate::session::{AdmissionControl, CLOSE_TIMEOUT, NodeState, RateLimits, SessionRegistry, UserRates};
use crate::shard::WebhookTarget;
use crate::state_machine::{ShardStateMachine, TABLES};
use crate::telemetry::metrics::{MetricsRegistry, ServerMetrics};
use crate::webhook;

/// Interval of the quorum check.
const LOOK: Duration = Duration::from_millis(250);
/// Deadline of stop steps that have no setting of their own.
const STOP: Duration = Duration::from_secs(10);

pub struct Running {
    http: SocketAddr,
    store: Store,
    cluster: Cluster,
    service: Arc<ChatService>,
    admission: Arc<AdmissionControl>,
    sessions: SessionRegistry,
    gateway: ServerHandle,
    config: Arc<Config>,
    watch: tokio::task::JoinHandle<()>,
    tidy: tokio::task::JoinHandle<()>,
    key_refresh: tokio::task::JoinHandle<()>,
    actors: ActorRuntime,
    raft: ClusterRuntime,
}

/// Reason why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be opened.
    #[error("storage.dir {dir}: {source}")]
    Storage { dir: String, source: storage::Error },
    /// The listener for other nodes cannot be bound.
    #[error("cluster.listen {listen}: {reason}")]
    Transport { listen: String, reason: String },
    /// The cluster member could not start.
    #[error("{0}")]
    Cluster(#[from] cluster::Error),
    /// The keys for verifying tokens cannot be loaded.
    #[error("{0}")]
    Auth(#[from] token_verifier::Error),
    /// The webhook that delivers one-time codes is misconfigured.
    #[error("login.webhook: {0}")]
    Webhook(webhook::UnusableSecret),
    /// The webhook for messages is misconfigured.
    #[error("webhook: {0}")]
    Hooks(webhook::UnusableSecret),
    /// The limit of open files is too low.
    #[error("{0}")]
    Files(#[from] connection_limit::FileLimitTooLow),
    /// The public listener cannot be bound.
    #[error("server.listen {http}: {source}")]
    Gateway { http: String, source: std::io::Error },
    /// A thread could not be started.
    #[error("threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A component ended during the start; its own log lines give the reason.
    #[error("the {0} ended during its start")]
    Ended(&'static str),
}

// === start ===

/// Starts a node. Returns when it serves clients, which may be before it is ready (`/readyz`).
///
/// # Errors
/// An [`Error`] that names the setting at fault.
pub async fn start(config: Config) -> Result<Running, Error> {
    let config = Arc::new(config);
    // First of all: a node without files for clients must not touch its data directory.
    let budget = divide_files(&config)?;
    // Three missed polls: after that, an unknown key id may belong to a key that has not arrived here.
    let keys = Arc::new(KeyringCache::new(config.tuning.key_poll_interval.0 * 3));
    let clock = clock();
    let auth =
        token_verifier::TokenVerifier::open(&config.auth, config.tuning.token_leeway.0)?.by(clock.clone());
    let ended = RevocationList::new(&config);
    let auth = auth.believing(keys.clone(), &config.auth, config.tuning.token_leeway.0);
    let auth = Arc::new(auth.refusing(ended.clone()));
    // Bound before anything slow: an address in use is the most common mistake, and should be reported at once.
    let http = config.server.listen.clone();
    let mut patience = Patience::with("server.listen");
    let (addr, listener) = loop {
        match server::bind(&config.server).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok(bound) => break bound,
            Err(error) if is_address_held(&error) && patience.goes_on(&error).await => {}
            Err(source) => return Err(Error::Gateway { http, source }),
        }
    };

    let posts = webhook::Metrics::default();
    let hook = WebhookTarget::open(&config, posts.clone(), clock.clone()).map_err(Error::Hooks)?;
    // After the listener: opening the store may take long, since it recovers the write-ahead log.
    let store = open_store(&config, budget).await?;
    // Before the actors, which run their disk reads on this runtime.
    let raft = ClusterRuntime::start(config.cluster.threads)?;
    let (actors, service, serve) = ActorRuntime::start(&config, &raft, hook, clock.clone()).await?;
    let metrics = ServerMetrics::default();
    let sessions = SessionRegistry::new(&config, ended.clone(), metrics.clone(), raft.handle().clone());
    // Connected before the cluster member starts: the first calls of other nodes may arrive as soon as it does.
    service.serve_sessions(sessions.clone());
    let rates = UserRates::new(RateLimits::from(&*config));
    service.serve_rates(rates.clone());
    let (cluster, transport) = start_cluster(&config, &raft, &store, &service, clock).await?;
    // From here on commands reach shard owners. The gateway starts below, so no client command comes earlier.
    service.join(cluster.clone());
    sessions.join(cluster.clone());

    let admission = Arc::new(AdmissionControl::default());
    let limiter = ConnectionLimiter::new(budget);
    // The other half is reserved for authenticated clients: a flood of anonymous connections must not exclude them.
    let greetings = UnauthenticatedConnections::new(
        config.server.unauthenticated_per_address,
        budget.clients.div_ceil(2),
    );
    let figures = MetricsRegistry::default();
    let login =
        LoginService::new(&config, service.conversations(), keys, posts.clone()).map_err(Error::Webhook)?;
    figures.register(|registry| {
        metrics.register(registry);
        limiter.register(registry);
        greetings.register(registry);
        service.register(registry);
        cluster.metrics().register(registry);
        transport.register(registry);
        store.metrics().register(registry);
        posts.register(registry);
        login.register(registry);
        ended.register(registry);
    });
    let parts = server::GatewayDeps {
        config: config.clone(),
        auth,
        cluster: cluster.clone(),
        conversations: service.conversations(),
        login: login.clone(),
        relay: service.relay(),
        presence: service.presence(),
        sessions: sessions.clone(),
        rates,
        admission: admission.clone(),
        limiter,
        greetings,
        metrics,
        figures,
    };
    // The gateway starts last: an accepted client finds every other component running.
    let (started, gateway) = oneshot::channel();
    if serve.send((parts, listener, started)).is_err() {
        return Err(Error::Ended("gateway"));
    }
    let gateway = gateway.await.map_err(|_| Error::Ended("gateway"))?;
    let gateway = gateway.map_err(|source| Error::Gateway { http, source })?;
    let watch = raft
        .handle()
        .spawn(watch_majority(cluster.clone(), admission.clone()));
    let tidy = raft.handle().spawn(tidy_up(
        cluster.clone(),
        store.clone(),
        config.storage.compaction_interval.0,
    ));
    let key_refresh = raft.handle().spawn(login.keep());
    tracing::info!(node = cluster.node_id().0, http = %addr, cluster = config.cluster.advertised(), connections = budget.clients, "serving");
    Ok(Running {
        http: addr,
        store,
        cluster,
        service,
        admission,
        sessions,
        gateway,
        config,
        watch,
        tidy,
        key_refresh,
        actors,
        raft,
    })
}

/// Returns the machine's clock, or a test's clock that may be wrong on purpose.
fn clock() -> ClusterClock {
    #[cfg(feature = "clock-file")]
    if let Some(path) = std::env::var_os("ROOKERY_CLOCK_FILE") {
        return ClusterClock::new(cluster::clock::FileWallClock::new(path));
    }
    ClusterClock::system()
}

/// Divides the limit of open files between clients and storage.
fn divide_files(config: &Config) -> Result<FileLimit, Error> {
    // A system that reports no limit is treated as unlimited.
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let budget = FileLimit::of(limit, config)?;
    if budget.lowered {
        tracing::warn!(
            limit,
            wanted = config.server.max_connections,
            connections = budget.clients,
            "RLIMIT_NOFILE permits fewer connections than server.max_connections: raise it (ulimit -n)"
        );
    }
    Ok(budget)
}

async fn open_store(config: &Config, budget: FileLimit) -> Result<Store, Error> {
    let settings = storage::Config {
        open_files: budget.tables,
        ..storage::Config::from(&config.storage)
    };
    let mut patience = Patience::with("storage.dir");
    loop {
        let (settings, dir) = (settings.clone(), config.storage.dir.clone());
        // Blocking: recovery of the write-ahead log would stall the runtime.
        match tokio::task::spawn_blocking(move || Store::open(TABLES, &settings)).await {
            Ok(Ok(store)) => return Ok(store),
            Ok(Err(error @ storage::Error::Locked { .. })) if patience.goes_on(&error).await => {}
            Ok(Err(source)) => return Err(Error::Storage { dir, source }),
            Err(_) => return Err(Error::Ended("storage")),
        }
    }
}

async fn start_cluster(
    config: &Config,
    raft: &ClusterRuntime,
    store: &Store,
    service: &ChatService,
    clock: ClusterClock,
) -> Result<(Cluster, cluster::transport::Metrics), Error> {
    let mut member = cluster::Config {
        clock,
        ..cluster::Config::from(config)
    };
    let listen = config.cluster.listen.clone();
    let transport_config = TransportConfig {
        listen: listen.clone(),
        secret: ClusterSecret::from(config.cluster.secret.0.as_str()),
        ..TransportConfig::default()
    };
    let (store, service) = (store.clone(), service.service());
    let advertises = !config.cluster.advertise.is_empty();
    // Spawned on the cluster's runtime: tasks of the transport must not run on the thread that starts the node.
    let started = raft.handle().spawn(async move {
        let mut patience = Patience::with("cluster.listen");
        let transport = loop {
            match TcpTransport::bind(transport_config.clone()).await {
                Ok(transport) => break transport,
                Err(error @ BindError::Listen { .. })
                    if is_held(&error) && patience.goes_on(&error).await => {}
                Err(error) => {
                    let reason = error.to_string();
                    return Err(Error::Transport { listen, reason });
                }
            }
        };
        if !advertises {
            // The bound address, since port 0 lets the system choose one.
            member.advertise = transport.local_addr().to_string();
        }
        let metrics = transport.metrics().clone();
        let machine = Arc::new(ShardStateMachine);
        let cluster = Cluster::start(member, store, Arc::new(transport), machine, service).await?;
        Ok((cluster, metrics))
    });
    started.await.map_err(|_| Error::Ended("cluster member"))?
}

/// Returns whether the address for other nodes is in use, most likely by the previous process.
fn is_held(error: &BindError) -> bool {
    matches!(error, BindError::Listen { source, .. } if is_address_held(source))
}

/// Periodically removes deleted data from the files; never if `every` is zero.
async fn tidy_up(cluster: Cluster, store: Store, every: Duration) {
    if every.is_zero() {
        return;
    }
    loop {
        // Sleeps first: a node that restarts often must not compact at every start.
        tokio::time::sleep(every).await;
        tidy(&cluster, &store).await;
    }
}

async fn tidy(cluster: &Cluster, store: &Store) {
    // Before the compaction: purged log entries are dropped from the files by the same run.
    cluster.trim().await;
    let store = store.clone();
    let began = std::time::Instant::now();
    match tokio::task::spawn_blocking(move || store.compact()).await {
        Ok(Ok(())) => tracing::info!(took_ms = began.elapsed().as_millis(), "data directory compacted"),
        // A stop closed the store or the runtime, which is no failure.
        Ok(Err(storage::Error::Closed)) | Err(_) => {}
        Ok(Err(error)) => tracing::warn!(%error, "data directory compaction failed"),
    }
}

/// Closes the sessions of a node that has lost quorum, and accepts sessions again when quorum is restored. A removed
/// node stays closed.
async fn watch_majority(cluster: Cluster, admission: Arc<AdmissionControl>) {
    loop {
        // A removed node counts as without quorum, so that its clients move to members.
        let removed = cluster.removed();
        let isolated = removed || cluster.isolated();
        if isolated != (admission.order() == NodeState::Isolated) {
            if isolated && !removed {
                tracing::warn!("lost quorum, closing sessions");
            }
            admission.isolated(isolated);
        }
        tokio::time::sleep(LOOK).await;
    }
}

// === stop ===

impl Running {
    /// Returns the address that clients connect to.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Returns the cluster handle.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Trims the log and compacts the data directory now, like the periodic run.
    pub async fn tidy(&self) {
        tidy(&self.cluster, &self.store).await;
    }

    /// Stops the components in order, and returns when all are stopped. Each step is bounded by a deadline.
    pub async fn stop(self) {
        let Running {
            store,
            cluster,
            service,
            admission,
            sessions,
            gateway,
            config,
            watch,
            tidy,
            key_refresh,
            actors,
            raft,
            ..
        } = self;
        let close = CLOSE_TIMEOUT * 2 + Duration::from_secs(1);
        // 1. Shards move to other nodes while the sessions are still open: their commands follow the new owners.
        admission.send(NodeState::HandOver);
        step("transfer shards", config.server.drain_timeout.0, cluster.drain()).await;
        // 2. Clients are asked to reconnect to other nodes.
        admission.send(NodeState::Drain);
        step("close sessions", close, admission.emptied()).await;
        // Unconfirmed events stay until another node has fetched them. A node that is alone has no other node to wait
        // for.
        if cluster.nodes().len() > 1 {
            let patience = config.fetch_timeout().0;
            let fetched = tokio::time::timeout(patience, sessions.fetched()).await;
            if fetched.is_err() {
                tracing::info!(
                    sessions = sessions.detached_count(),
                    "stopping with detached sessions that were not transferred"
                );
            }
        }
        // 3. The gateway stops. Until here it answers probes, which report that the node drains, and REST requests in
        //    progress.
        let server = config.tuning.shutdown_timeout.0 + Duration::from_secs(1);
        step("stop the gateway", server, gateway.stop(true)).await;
        // 4. Queries and commands in progress are answered or refused.
        step("stop conversations", STOP, service.stop()).await;
        step("stop actors", STOP, actors.stop()).await;
        // 5. The member leaves the transport. Background tasks end before it, since they use its handle.
        watch.abort();
        tidy.abort();
        key_refresh.abort();
        step("stop the cluster member", STOP, cluster.shutdown()).await;
        // 6. The disk last: replication may write until the member has stopped.
        // Blocking: the final sync must not stall the runtime that measures the deadline.
        let closed = tokio::task::spawn_blocking(move || store.close());
        step("close storage", STOP, async {
            if closed.await.is_err() {
                tracing::error!("storage could not be closed");
            }
        })
        .await;
        // The runtime last: the steps above run tasks on it.
        drop(raft);
        tracing::info!("stopped");
    }
}

async fn step(what: &'static str, deadline: Duration, work: impl Future<Output = ()>) {
    // A step that hangs must not prevent the following ones: the disk has to be closed in any case.
    if tokio::time::timeout(deadline, work).await.is_err() {
        tracing::warn!(
            step = what,
            deadline_ms = deadline.as_millis(),
            "shutdown step timed out, continuing"
        );
    }
}
