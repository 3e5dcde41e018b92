//! Start of the data directory, of the transport and of the cluster member of a node.

use std::sync::Arc;

use cluster::transport::{BindError, ClusterSecret, PeerTls, TcpTransport, TransportConfig};
use cluster::{Cluster, ClusterClock};
use storage::Store;

use super::error::Error;
use super::patience::{Patience, is_address_held};
use super::threads::ClusterRuntime;
use crate::config::Config;
use crate::gateway::connection_limit::FileLimit;
use crate::service::ChatService;
use crate::state_machine::{ShardStateMachine, TABLES};

/// Returns the machine's clock, or a test's clock that may be wrong on purpose.
pub(super) fn clock() -> ClusterClock {
    #[cfg(feature = "clock-file")]
    if let Some(path) = std::env::var_os("ROOKERY_CLOCK_FILE") {
        return ClusterClock::new(cluster::clock::FileWallClock::new(path));
    }
    ClusterClock::system()
}

/// Opens the data directory. Waits for a predecessor that still holds it.
pub(super) async fn open_store(config: &Config, budget: FileLimit) -> Result<Store, Error> {
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

/// Starts the transport and the cluster member on the runtime of the cluster.
pub(super) async fn start_cluster(
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
