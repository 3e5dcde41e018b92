//! One node, from start to stop: the order of both is here and nowhere else.
//!
//! ```text
//! start:  disk → threads of the cluster → transport → conversations → cluster member → gateway
//! stop:   hand over shards → close sessions → wait for other nodes to fetch them → gateway → conversations → cluster member → disk
//! ```
//! Each step of the stop has a deadline, and the disk is the last thing alive.

mod patience;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use cluster::transport::{BindError, Secret, TcpTransport, TransportConfig};
use cluster::{Clock, Cluster};
use storage::Store;
use tokio::sync::oneshot;

use self::patience::{Patience, is_address_held};
use self::threads::{Actors, Raft};
use crate::config::Config;
use crate::conversation::Backbone;
use crate::conversation::timeline::ChatMachine;
use crate::gateway::greetings::Greetings;
use crate::gateway::seats::{self, Budget, Seats};
use crate::gateway::{auth, server};
use crate::session::{Door, Order, Rates, Sessions};
use crate::telemetry::metrics::{Figures, Metrics};
use crate::user::login::Login;
use crate::user::login::ended::Ended;
use crate::user::login::keyring::Keys;
use crate::webhook;

/// How often the node looks whether it sees a majority.
const LOOK: Duration = Duration::from_millis(250);
/// How long parts may take to stop that have no setting of their own.
const STOP: Duration = Duration::from_secs(10);

/// A running node.
pub struct Running {
    http: SocketAddr,
    store: Store,
    cluster: Cluster,
    backbone: Arc<Backbone>,
    door: Arc<Door>,
    sessions: Sessions,
    gateway: ServerHandle,
    config: Arc<Config>,
    watch: tokio::task::JoinHandle<()>,
    tidy: tokio::task::JoinHandle<()>,
    keeper: tokio::task::JoinHandle<()>,
    actors: Actors,
    raft: Raft,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory.
    #[error("storage.dir {dir}: {source}")]
    Storage {
        /// The directory.
        dir: String,
        /// Why.
        source: storage::Error,
    },
    /// The listener between nodes.
    #[error("cluster.listen {listen}: {reason}")]
    Transport {
        /// The address.
        listen: String,
        /// Why.
        reason: String,
    },
    /// The cluster.
    #[error("{0}")]
    Cluster(#[from] cluster::Error),
    /// Whose tokens to believe.
    #[error("{0}")]
    Auth(#[from] auth::Error),
    /// What delivers codes.
    #[error("login.webhook: {0}")]
    Webhook(webhook::Unusable),
    /// Whom messages are told.
    #[error("hooks: {0}")]
    Hooks(webhook::Unusable),
    /// The limit of open files.
    #[error("{0}")]
    Files(#[from] seats::TooFew),
    /// The public listener.
    #[error("server.http {http}: {source}")]
    Gateway {
        /// The address.
        http: String,
        /// Why.
        source: std::io::Error,
    },
    /// Threads.
    #[error("threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A part ended while it was being started, which its own log lines explain.
    #[error("the {0} ended while it was being started")]
    Ended(&'static str),
}

// === start ===

/// Starts a node. Returns when it serves clients, not necessarily when it is ready (`/readyz`).
///
/// # Errors
/// Names the setting to look at.
pub async fn start(config: Config) -> Result<Running, Error> {
    let config = Arc::new(config);
    let budget = divide_files(&config)?;
    // Older than three questions for it, the knowledge of the keys may be outdated.
    let keys = Arc::new(Keys::new(config.login.key_poll_ms.duration() * 3));
    let clock = clock();
    let auth = auth::Auth::open(&config.auth, config.limits.token_bytes)?.by(clock.clone());
    let ended = Ended::new(&config.login, &config.auth);
    let auth = auth.believing(keys.clone(), &config.login, &config.auth);
    let auth = Arc::new(auth.refusing(ended.clone()));
    // Before anything slow: an address that is taken is the commonest mistake.
    let http = config.server.http.clone();
    let mut patience = Patience::with("server.http");
    let (addr, listener) = loop {
        match server::bind(&config.server).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok(bound) => break bound,
            Err(error) if is_address_held(&error) && patience.goes_on(&error).await => {}
            Err(source) => return Err(Error::Gateway { http, source }),
        }
    };

    let posts = webhook::Metrics::default();
    let hook = config
        .hooks
        .hook(posts.clone(), clock.clone())
        .map_err(Error::Hooks)?;
    let store = open_store(&config, budget).await?;
    let raft = Raft::start(config.cluster.threads)?;
    let (actors, backbone, serve) = Actors::start(&config, &raft, hook, clock.clone()).await?;
    let metrics = Metrics::default();
    let sessions = Sessions::new(
        &config.session,
        ended.clone(),
        metrics.clone(),
        raft.handle().clone(),
    );
    backbone.serve_sessions(sessions.clone());
    let rates = Rates::new(&config.limits, &config.presence);
    backbone.serve_rates(rates.clone());
    let (cluster, transport) = start_cluster(&config, &raft, &store, &backbone, clock).await?;
    backbone.join(cluster.clone());
    sessions.join(cluster.clone());

    let door = Arc::new(Door::default());
    let seats = Seats::new(budget);
    // The other half is for those who have said who they are, whatever the others do.
    let greetings = Greetings::new(
        config.server.unauthenticated_per_address,
        budget.clients.div_ceil(2),
    );
    let figures = Figures::default();
    let login = Login::new(&config, backbone.conversations(), keys, posts.clone()).map_err(Error::Webhook)?;
    figures.register(|registry| {
        metrics.register(registry);
        seats.register(registry);
        greetings.register(registry);
        backbone.register(registry);
        cluster.metrics().register(registry);
        transport.register(registry);
        store.metrics().register(registry);
        posts.register(registry);
        login.register(registry);
        ended.register(registry);
    });
    let parts = server::Parts {
        config: config.clone(),
        auth,
        cluster: cluster.clone(),
        conversations: backbone.conversations(),
        login: login.clone(),
        relay: backbone.relay(),
        attendance: backbone.attendance(),
        sessions: sessions.clone(),
        rates,
        door: door.clone(),
        seats,
        greetings,
        metrics,
        figures,
    };
    let (started, gateway) = oneshot::channel();
    if serve.send((parts, listener, started)).is_err() {
        return Err(Error::Ended("gateway"));
    }
    let gateway = gateway.await.map_err(|_| Error::Ended("gateway"))?;
    let gateway = gateway.map_err(|source| Error::Gateway { http, source })?;
    let watch = raft.handle().spawn(watch_majority(cluster.clone(), door.clone()));
    let tidy = raft.handle().spawn(tidy_up(
        cluster.clone(),
        store.clone(),
        config.storage.compact_ms.duration(),
    ));
    let keeper = raft.handle().spawn(login.keep());
    tracing::info!(node = cluster.node_id().0, http = %addr, cluster = config.cluster.advertised(), connections = budget.clients, "serving");
    Ok(Running {
        http: addr,
        store,
        cluster,
        backbone,
        door,
        sessions,
        gateway,
        config,
        watch,
        tidy,
        keeper,
        actors,
        raft,
    })
}

/// The machine's clock, which a test may put wrong.
fn clock() -> Clock {
    #[cfg(feature = "clock-file")]
    if let Some(path) = std::env::var_os("ROOKERY_CLOCK_FILE") {
        return Clock::new(cluster::clock::FileWall::new(path));
    }
    Clock::system()
}

/// Decides what the open files that the system permits are for.
fn divide_files(config: &Config) -> Result<Budget, Error> {
    // Unknown is as good as unlimited.
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let budget = Budget::of(limit, config)?;
    if budget.lowered {
        tracing::warn!(
            limit,
            wanted = config.server.max_connections,
            connections = budget.clients,
            "the limit of open files permits fewer connections than server.max_connections: raise it (ulimit -n)"
        );
    }
    Ok(budget)
}

async fn open_store(config: &Config, budget: Budget) -> Result<Store, Error> {
    let settings = storage::Config {
        open_files: budget.tables,
        ..config.storage.store()
    };
    let mut patience = Patience::with("storage.dir");
    loop {
        let (settings, dir) = (settings.clone(), config.storage.dir.clone());
        match tokio::task::spawn_blocking(move || Store::open(&settings)).await {
            Ok(Ok(store)) => return Ok(store),
            Ok(Err(error @ storage::Error::Locked { .. })) if patience.goes_on(&error).await => {}
            Ok(Err(source)) => return Err(Error::Storage { dir, source }),
            Err(_) => return Err(Error::Ended("storage")),
        }
    }
}

async fn start_cluster(
    config: &Config,
    raft: &Raft,
    store: &Store,
    backbone: &Backbone,
    clock: Clock,
) -> Result<(Cluster, cluster::transport::Metrics), Error> {
    let mut member = cluster::Config {
        clock,
        ..config.cluster.member()
    };
    let listen = config.cluster.listen.clone();
    let transport_config = TransportConfig {
        listen: listen.clone(),
        secret: Secret::from(config.cluster.secret.0.as_str()),
        ..TransportConfig::default()
    };
    let (store, service) = (store.clone(), backbone.service());
    let advertises = !config.cluster.advertise.is_empty();
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
            // The port may have been chosen by the system.
            member.advertise = transport.local_addr().to_string();
        }
        let metrics = transport.metrics().clone();
        let machine = Arc::new(ChatMachine);
        let cluster = Cluster::start(member, store, Arc::new(transport), machine, service).await?;
        Ok((cluster, metrics))
    });
    started.await.map_err(|_| Error::Ended("cluster member"))?
}

/// Returns whether the address for other nodes is taken, most likely by the process before this one.
fn is_held(error: &BindError) -> bool {
    matches!(error, BindError::Listen { source, .. } if is_address_held(source))
}

/// Takes what was deleted out of the files, every so often.
async fn tidy_up(cluster: Cluster, store: Store, every: Duration) {
    if every.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(every).await;
        tidy(&cluster, &store).await;
    }
}

async fn tidy(cluster: &Cluster, store: &Store) {
    cluster.trim().await;
    let store = store.clone();
    let began = std::time::Instant::now();
    match tokio::task::spawn_blocking(move || store.compact()).await {
        Ok(Ok(())) => tracing::info!(took_ms = began.elapsed().as_millis(), "data directory compacted"),
        Ok(Err(storage::Error::Closed)) | Err(_) => {}
        Ok(Err(error)) => tracing::warn!(%error, "data directory not compacted"),
    }
}

/// Closes the sessions of a node that has lost sight of the majority, and takes them again when it's back. A node that was
/// removed from the cluster closes them for good.
async fn watch_majority(cluster: Cluster, door: Arc<Door>) {
    loop {
        let removed = cluster.removed();
        let isolated = removed || cluster.isolated();
        if isolated != (door.order() == Order::Isolated) {
            if isolated && !removed {
                tracing::warn!("no majority in sight: closing sessions");
            }
            door.isolated(isolated);
        }
        tokio::time::sleep(LOOK).await;
    }
}

// === stop ===

impl Running {
    /// Where clients connect.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// The member of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Trims the log and compacts the data directory now, as it is done every `storage.compact_ms`.
    pub async fn tidy(&self) {
        tidy(&self.cluster, &self.store).await;
    }

    /// Stops in order; returns when everything is down.
    pub async fn stop(self) {
        let Running {
            store,
            cluster,
            backbone,
            door,
            sessions,
            gateway,
            config,
            watch,
            tidy,
            keeper,
            actors,
            raft,
            ..
        } = self;
        let close = config.session.close_ms.duration() * 2 + Duration::from_secs(1);
        // 1. Others own what this node owned; clients see nothing of it.
        door.tell(Order::HandOver);
        step(
            "hand over shards",
            config.cluster.drain_ms.duration(),
            cluster.drain(),
        )
        .await;
        // 2. Sessions say goodbye and go elsewhere.
        door.tell(Order::Drain);
        step("close sessions", close, door.emptied()).await;
        //    What they have not confirmed is there until it is fetched: by whom, on a node that is alone?
        if cluster.nodes().len() > 1 {
            let patience = config.session.handover_ms.duration();
            let fetched = tokio::time::timeout(patience, sessions.fetched()).await;
            if fetched.is_err() {
                tracing::info!(
                    sessions = sessions.away(),
                    "stopping with sessions that nobody came for"
                );
            }
        }
        // 3. Nobody comes in any more.
        let server = config.server.shutdown_ms.duration() + Duration::from_secs(1);
        step("stop the gateway", server, gateway.stop(true)).await;
        // 4. What is still under way is answered or refused.
        step("stop conversations", STOP, backbone.stop()).await;
        step("stop actors", STOP, actors.stop()).await;
        // 5. Out of the cluster's sight.
        watch.abort();
        tidy.abort();
        keeper.abort();
        step("stop the cluster member", STOP, cluster.shutdown()).await;
        // 6. The disk, last.
        let closed = tokio::task::spawn_blocking(move || store.close());
        step("close the disk", STOP, async {
            if closed.await.is_err() {
                tracing::error!("the disk could not be closed");
            }
        })
        .await;
        drop(raft);
        tracing::info!("stopped");
    }
}

async fn step(what: &'static str, deadline: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(deadline, work).await.is_err() {
        tracing::warn!(
            step = what,
            deadline_ms = deadline.as_millis(),
            "took too long, going on"
        );
    }
}
