//! Lifecycle of a node: defines the order of start and stop.
//!
//! ```text
//! start:  disk → threads of the cluster → transport → conversations → cluster member → gateway
//! stop:   hand over shards → close sessions → wait for other nodes to fetch them → gateway → conversations → cluster member → disk
//! ```
//! Each step of the stop has a deadline, and the disk closes last.

pub mod shutdown;

mod certificates;
mod error;
mod listeners;
mod member;
mod parts;
mod patience;
mod service_manager;
mod stop;
mod threads;
mod upkeep;

pub use error::Error;
pub use service_manager::notify_service_manager;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use cluster::Cluster;
use storage::Store;
use tokio::sync::oneshot;

use self::certificates::Certificates;
use self::listeners::{bind, bind_protocols, listen};
use self::member::{clock, open_store, start_cluster};
use self::threads::{ActorRuntime, ClusterRuntime};
use self::upkeep::{measure_space, tidy_up, watch_majority};
use crate::admin::{NodeAdmin, NodeAdminDeps};
use crate::auth::{
    AdminTokens, ApiKeys, DeviceTokens, KeyringCache, LoginService, RevocationList, UserAccessCache,
    token_verifier,
};
use crate::config::Config;
use crate::forwarding::RequestForwarder;
use crate::gateway::connection_limit::{ConnectionLimiter, FileLimit};
use crate::gateway::server;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::service::ChatService;
use crate::session::{AdmissionControl, RateLimits, SessionRegistry, UserRates};
use crate::shard::WebhookTarget;
use crate::telemetry::EventLoop;
use crate::telemetry::metrics::{MetricsRegistry, ServerMetrics};
use crate::webhook;

pub struct Running {
    http: SocketAddr,
    /// Address for operators: that for clients, unless they have a listener of their own.
    #[cfg(any(test, feature = "testkit"))]
    admin: SocketAddr,
    tcp: Vec<(server::StreamProtocol, SocketAddr)>,
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
    /// For tests of gateways without a listener.
    #[cfg(test)]
    gateway_deps: server::GatewayDeps,
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
    let Certificates {
        clients: tls,
        peers,
        watch: certificates,
    } = Certificates::open(&config)?;
    // Three missed polls: after that, an unknown key id may belong to a key that has not arrived here.
    let keys = Arc::new(KeyringCache::new(config.tuning.key_poll_interval.0 * 3));
    let clock = clock();
    let auth =
        token_verifier::TokenVerifier::open(&config.auth, config.tuning.token_leeway.0)?.by(clock.clone());
    let ended = RevocationList::new(&config);
    let auth = auth.believing(keys.clone(), &config.auth, config.tuning.token_leeway.0);
    let auth = auth.refusing(ended.clone());
    let admin_tokens = AdminTokens::open(&config.server)?;
    // Bound before anything slow: an address in use is the most common mistake, and should be reported at once.
    let http = config.server.listen.clone();
    let (listener, addr) = bind("server.listen", &http).await?;
    listen("server.listen", &listener)?;
    let admin = match &*config.server.admin {
        "" => None,
        admin => Some(bind("server.admin", admin).await?),
    };
    if let Some((listener, _)) = &admin {
        listen("server.admin", listener)?;
    }
    let admin_addr = admin.as_ref().map_or(addr, |(_, addr)| *addr);
    let tcp = bind_protocols(&config).await?;
    let tcp_addrs = tcp
        .iter()
        .map(|(listener, addr)| (listener.protocol, *addr))
        .collect();
    let listeners = server::Listeners {
        http: listener,
        admin: admin.map(|(listener, _)| listener),
        tcp: tcp.into_iter().map(|(listener, _)| listener).collect(),
    };

    let posts = webhook::Metrics::default();
    let hook = WebhookTarget::open(&config, posts.clone(), clock.clone()).map_err(Error::Hooks)?;
    // After the listener: opening the store may take long, since it recovers the write-ahead log.
    let store = open_store(&config, budget).await?;
    // Before the actors, which run their disk reads on this runtime.
    let raft = ClusterRuntime::start(config.threads().cluster)?;
    let (actors, service, serve) = ActorRuntime::start(&config, &raft, hook, clock.clone()).await?;
    let metrics = ServerMetrics::default();
    service.measure_lags(&metrics.loop_lag);
    raft.handle().spawn(metrics.loop_lag.measure(EventLoop::Cluster));
    let access = UserAccessCache::new(service.conversations());
    let revoked = (ended.clone(), access.clone());
    let sessions = SessionRegistry::new(&config, revoked, metrics.clone(), raft.handle().clone());
    // Connected before the cluster member starts: the first calls of other nodes may arrive as soon as it does.
    service.serve_sessions(sessions.clone());
    let rates = UserRates::new(RateLimits::from(&*config));
    service.serve_rates(rates.clone());
    let forwarder = RequestForwarder::new(raft.handle().clone());
    service.serve_forwarded(forwarder.clone());
    let api_keys = ApiKeys::new(service.conversations());
    service.serve_api_keys(api_keys.clone());
    let (cluster, transport) = start_cluster(&config, &raft, &store, &service, (clock, peers)).await?;
    // From here on commands reach shard owners. The gateway starts below, so no client command comes earlier.
    service.join(cluster.clone());
    sessions.join(cluster.clone());
    forwarder.join(cluster.clone());

    let admission = Arc::new(AdmissionControl::default());
    admission.share_reconnects(config.tuning.reconnects_per_second);
    let limiter = ConnectionLimiter::new(budget);
    // The other half is reserved for authenticated clients: a flood of anonymous connections must not exclude them.
    let greetings = UnauthenticatedConnections::new(
        config.server.unauthenticated_per_address,
        budget.clients.div_ceil(2),
    );
    let figures = MetricsRegistry::default();
    let devices = DeviceTokens::new(
        &config.tuning,
        service.conversations(),
        keys.clone(),
        ended.clone(),
    );
    let auth = Arc::new(auth.with_devices(devices.clone()).with_access(access.clone()));
    let login =
        LoginService::new(&config, service.conversations(), keys, posts.clone()).map_err(Error::Webhook)?;
    figures.register(|registry| {
        metrics.register(registry);
        limiter.register(registry);
        greetings.register(registry);
        service.register(registry);
        cluster.register_metrics(registry);
        transport.register(registry);
        store.metrics().register(registry);
        posts.register(registry);
        login.register(registry);
        devices.register(registry);
        ended.register(registry);
        certificates.metrics().register(registry);
    });
    let admin = NodeAdmin::new(NodeAdminDeps {
        cluster: cluster.clone(),
        admission: admission.clone(),
        sessions: sessions.clone(),
        metrics: metrics.clone(),
        storage: store.metrics().clone(),
        connections: limiter.gauges(),
        runtime: raft.handle().clone(),
        fsync: config.storage.fsync,
        figures: figures.clone(),
        settings: config.disclosed().into(),
    });
    service.serve_admin(admin.clone());
    let parts = server::GatewayDeps {
        config: config.clone(),
        auth,
        admin: admin.clone(),
        admin_tokens,
        cluster: cluster.clone(),
        conversations: service.conversations(),
        login: login.clone(),
        devices,
        api_keys,
        access,
        relay: service.relay(),
        presence: service.presence(),
        sessions: sessions.clone(),
        forwarder,
        rates,
        admission: admission.clone(),
        limiter,
        greetings,
        metrics,
        figures,
        tls,
        certificates: certificates.metrics(),
    };
    #[cfg(test)]
    let gateway_deps = parts.clone();
    // The gateway starts last: an accepted client finds every other component running. The clients of other protocols have
    // no probes, so they are refused until now instead of waiting for a node that recovers its log: they try another one.
    for protocol in &listeners.tcp {
        listen(protocol.setting, &protocol.listener)?;
    }
    let (started, gateway) = oneshot::channel();
    if serve.send((parts, listeners, started)).is_err() {
        return Err(Error::Ended("gateway"));
    }
    let gateway = gateway.await.map_err(|_| Error::Ended("gateway"))?;
    let gateway = gateway.map_err(|source| Error::Gateway {
        setting: "server.listen",
        address: http,
        source,
    })?;
    let watch = raft.handle().spawn(watch_majority(
        cluster.clone(),
        admission.clone(),
        config.tuning.reconnects_per_second,
    ));
    let tidy_up = tidy_up(
        cluster.clone(),
        store.clone(),
        config.storage.compaction_interval.0,
    );
    let renewal = certificates.run(config.tuning.certificate_interval.0);
    let upkeep = futures::future::join5(
        tidy_up,
        measure_space(store.clone()),
        admin.clone().measure(),
        admin.follow_duty(),
        renewal,
    );
    let tidy = raft.handle().spawn(async {
        upkeep.await;
    });
    let key_refresh = raft.handle().spawn(login.keep());
    tracing::info!(node = cluster.node_id().0, http = %addr, admin = %admin_addr, cluster = config.cluster.advertised(), connections = budget.clients, "serving");
    Ok(Running {
        http: addr,
        #[cfg(any(test, feature = "testkit"))]
        admin: admin_addr,
        tcp: tcp_addrs,
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
        #[cfg(test)]
        gateway_deps,
    })
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

// === impl Running ===

impl Running {
    /// Returns the address that clients connect to.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address for operators.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the address of a protocol with a listener of its own.
    #[must_use]
    pub fn protocol_addr(&self, protocol: server::StreamProtocol) -> Option<SocketAddr> {
        let listening = self.tcp.iter().find(|(listening, _)| *listening == protocol);
        listening.map(|(_, addr)| *addr)
    }

    /// Returns the cluster handle.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    #[cfg(test)]
    pub(crate) fn gateway_deps(&self) -> &server::GatewayDeps {
        &self.gateway_deps
    }

    /// Trims the log and compacts the data directory now, like the periodic run.
    #[cfg(any(test, feature = "testkit"))]
    pub async fn tidy(&self) {
        upkeep::tidy(&self.cluster, &self.store).await;
    }
}
