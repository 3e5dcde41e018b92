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
mod parts;
mod patience;
mod service_manager;
mod stop;
mod threads;
mod upkeep;

pub use error::Error;
pub use service_manager::notify_service_manager;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use cluster::transport::{BindError, ClusterSecret, PeerTls, TcpTransport, TransportConfig};
use cluster::{Cluster, ClusterClock};
use storage::Store;
use tokio::sync::oneshot;

use self::certificates::Certificates;
use self::patience::{Patience, is_address_held};
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
use crate::state_machine::{ShardStateMachine, TABLES};
use crate::telemetry::EventLoop;
use crate::telemetry::metrics::{MetricsRegistry, ServerMetrics};
use crate::webhook;

pub struct Running {
    http: SocketAddr,
    /// Address for operators: that for clients, unless they have a listener of their own.
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
    let watch = raft
        .handle()
        .spawn(watch_majority(cluster.clone(), admission.clone()));
    let tidy_up = tidy_up(
        cluster.clone(),
        store.clone(),
        config.storage.compaction_interval.0,
    );
    let renewal = certificates.run(config.tuning.certificate_interval.0);
    let upkeep = futures::future::join4(tidy_up, measure_space(store.clone()), admin.measure(), renewal);
    let tidy = raft.handle().spawn(async {
        upkeep.await;
    });
    let key_refresh = raft.handle().spawn(login.keep());
    tracing::info!(node = cluster.node_id().0, http = %addr, admin = %admin_addr, cluster = config.cluster.advertised(), connections = budget.clients, "serving");
    Ok(Running {
        http: addr,
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

/// Binds the address of a setting. Waits for a predecessor that still holds it.
async fn bind(setting: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let mut patience = Patience::with(setting);
    loop {
        match server::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((addr, listener)) => return Ok((listener, addr)),
            Err(error) if is_address_held(&error) && patience.goes_on(&error).await => {}
            Err(source) => {
                let address = address.to_owned();
                return Err(Error::Gateway {
                    setting,
                    address,
                    source,
                });
            }
        }
    }
}

/// Lets the listener of a setting accept connections.
fn listen(setting: &'static str, listener: &TcpListener) -> Result<(), Error> {
    server::listen(listener).map_err(|source| Error::Gateway {
        setting,
        address: listener
            .local_addr()
            .map_or_else(|_| String::new(), |addr| addr.to_string()),
        source,
    })
}

/// Binds the listeners of the protocols other than HTTP.
async fn bind_protocols(config: &Config) -> Result<Vec<(server::ProtocolListener, SocketAddr)>, Error> {
    let mut listeners = Vec::new();
    if !config.mqtt.listen.is_empty() {
        let (listener, addr) = bind("mqtt.listen", &config.mqtt.listen).await?;
        let listener = server::ProtocolListener {
            setting: "mqtt.listen",
            protocol: mqtt_protocol(config),
            listener,
        };
        listeners.push((listener, addr));
    }
    #[cfg(feature = "conformance")]
    if !config.tuning.line_echo_listen.is_empty() {
        let (listener, addr) = bind("tuning.line_echo_listen", &config.tuning.line_echo_listen).await?;
        let listener = server::ProtocolListener {
            setting: "tuning.line_echo_listen",
            protocol: server::StreamProtocol::LineEcho,
            listener,
        };
        listeners.push((listener, addr));
    }
    #[cfg(not(feature = "conformance"))]
    if !config.tuning.line_echo_listen.is_empty() {
        tracing::warn!("this build has no line echo");
    }
    Ok(listeners)
}

/// Returns the protocol of the MQTT listener: the chat, or the topic tree on which the suites for brokers run.
fn mqtt_protocol(config: &Config) -> server::StreamProtocol {
    #[cfg(feature = "conformance")]
    if config.tuning.mqtt_free_topics && config.auth.dev_tokens {
        return server::StreamProtocol::MqttTopics;
    }
    if config.tuning.mqtt_free_topics {
        tracing::warn!("this node has no free topics of MQTT");
    }
    server::StreamProtocol::Mqtt
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
    (clock, tls): (ClusterClock, Option<PeerTls>),
) -> Result<(Cluster, cluster::transport::Metrics), Error> {
    let mut member = cluster::Config {
        clock,
        ..cluster::Config::from(config)
    };
    let listen = config.cluster.listen.clone();
    let transport_config = TransportConfig {
        listen: listen.clone(),
        secret: ClusterSecret::from(config.cluster.secret.0.as_str()),
        tls,
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
            // The bound address, since port 0 lets the system choose one; also for a node that is its own seed.
            member.advertise = transport.local_addr().to_string();
            for seed in member.seeds.iter_mut().filter(|seed| **seed == listen) {
                seed.clone_from(&member.advertise);
            }
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

// === impl Running ===

impl Running {
    /// Returns the address that clients connect to.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address for operators.
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
