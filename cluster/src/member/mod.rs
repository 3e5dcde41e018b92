//! Running member: its replicas, routing table and view of the other members.

mod clock_exchange;
mod collector;
mod comparison;
mod contacts;
mod duty;
mod end_of_service;
mod failovers;
mod heartbeat;
mod join;
mod leadership_transfer;
mod readiness;
mod rebuild;
mod reconcile;
mod recovery;
mod replicas;
mod requests;
mod restored;
mod seeds;
mod status;
mod takeover;
mod transport_handler;

pub(crate) use collector::MemberCollector;
pub use readiness::PERMITTED_LAG;
use rebuild::Rebuilds;
use replicas::Replica;
pub use restored::{found_cluster, position, restore_shard, stored_cluster};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use storage::{ShardId, ShardState, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::blocking;
use crate::clock::ClusterClock;
use crate::config::Config;
use crate::error::Error;
use crate::ids::{FeatureLevel, NodeId};
use crate::log_throttle::LogThrottle;
use crate::membership::{self, PeerContacts, PeerIncarnations, QuorumMonitor};
use crate::metrics::Metrics;
use crate::raft::{Imports, RpcServer};
use crate::service::Service;
use crate::shard::{ClusterMap, LevelCell, RoutingTable};
use crate::state_machine::StateMachine;
use crate::transport::{NodeIdentity, Transport};

/// Key of a record that is written at every start.
const STARTED: &str = "cluster/started";
/// Key of the saved records of the other members' disks.
const DISKS: &str = "cluster/disks";
/// Minimum time between two log lines about the same failure.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Running member of a cluster.
pub(crate) struct Member {
    pub(crate) config: Config,
    identity: NodeIdentity,
    store: Store,
    transport: Arc<dyn Transport>,
    machine: Arc<dyn StateMachine>,
    pub(crate) service: Arc<dyn Service>,
    replicas: RwLock<HashMap<ShardId, Arc<Replica>>>,
    map: ArcSwap<ClusterMap>,
    pub(crate) table: RoutingTable,
    pub(crate) health: QuorumMonitor,
    pub(crate) disks: PeerIncarnations,
    pub(crate) contacts: PeerContacts,
    server: RpcServer,
    /// Wakes the reconciliation: placement, replicas or leadership may have to change.
    pub(crate) changed: Notify,
    /// Applied index of each replica at the last [`Member::trim`].
    marks: Mutex<HashMap<ShardId, u64>>,
    rebuilds: Rebuilds,
    draining: AtomicBool,
    /// An operator removed this member from the cluster, so it serves nothing any more.
    removed: AtomicBool,
    /// It was leaving, so nothing was lost with it.
    has_left: AtomicBool,
    /// A check whether leaving members are free of replicas is in progress.
    checks_leavers: AtomicBool,
    /// The cluster has a feature level that this build does not support.
    below_level: AtomicBool,
    /// Feature level of the cluster as known here.
    level: Arc<LevelCell>,
    /// The member has caught up once since its start.
    is_stable: AtomicBool,
    /// Reason for which it has not.
    catching_up: Mutex<String>,
    stopping: CancellationToken,
    /// The member's own runtime, for work that other executors begin.
    runtime: tokio::runtime::Handle,
    tasks: TaskTracker,
    metrics: Metrics,
    /// Notes of takeovers that the meta group does not have yet.
    pending_failovers: failovers::PendingFailovers,
    /// Throttle of log lines about restarted replicas.
    restarts: LogThrottle,
    /// Throttle of log lines about failed saves of the disk records.
    unsaved: LogThrottle,
}

// === impl Member ===

impl Member {
    pub(crate) async fn start(
        config: Config,
        store: Store,
        transport: Arc<dyn Transport>,
        machine: Arc<dyn StateMachine>,
        service: Arc<dyn Service>,
    ) -> Result<Arc<Member>, Error> {
        let admitted = match join::admit(&config, &store, transport.as_ref()).await {
            Ok(admitted) => admitted,
            Err(error) => {
                // A node that looks for its cluster answers others already.
                transport.shutdown().await;
                return Err(error);
            }
        };
        if admitted.map.level > config.supported_level {
            return Err(Error::BelowLevel {
                supported: config.supported_level,
                required: admitted.map.level,
            });
        }
        if config.unsafe_recover {
            let standing = (admitted.node, &admitted.map);
            recovery::make_sole_voter_of_all(&config, standing, &store, transport.as_ref()).await?;
        }
        let level = Arc::new(LevelCell::default());
        // A bootstrapping node owns shards before it has adopted the map that it creates with its own level.
        level.raise(if admitted.bootstrap {
            config.supported_level
        } else {
            admitted.map.level
        });
        let rounds = store.synced_rounds();
        // Adds at least one commit group per start, so that no two processes of this node have the same incarnation.
        store.put_node(STARTED, &[])?;
        let disks = PeerIncarnations::load(store.get_node(DISKS)?.as_deref(), config.trust_disks)?;
        let identity = NodeIdentity {
            node: admitted.node,
            cluster: admitted.cluster,
            incarnation: membership::incarnation(rounds, rand::random()),
            supported_level: config.supported_level,
        };
        let tasks = TaskTracker::new();
        let node = Arc::new(Member {
            identity,
            server: RpcServer::new(Imports::new(store.clone()), tasks.clone()),
            replicas: RwLock::default(),
            map: ArcSwap::from_pointee(admitted.map),
            table: RoutingTable::new(),
            health: QuorumMonitor::new(),
            disks,
            contacts: PeerContacts::default(),
            changed: Notify::new(),
            marks: Mutex::default(),
            rebuilds: Rebuilds::default(),
            draining: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            checks_leavers: AtomicBool::new(false),
            below_level: AtomicBool::new(false),
            level,
            is_stable: AtomicBool::new(false),
            catching_up: Mutex::new("the member starts".to_owned()),
            stopping: CancellationToken::new(),
            runtime: tokio::runtime::Handle::current(),
            metrics: Metrics::default(),
            pending_failovers: failovers::PendingFailovers::default(),
            restarts: LogThrottle::every(LOG_EVERY),
            unsaved: LogThrottle::every(LOG_EVERY),
            tasks,
            config,
            store,
            transport,
            machine,
            service,
        });
        // Before the transport: requests of peers that arrive first would otherwise find a clock without members.
        node.count_clocks();
        // Before the replicas: a starting group sends votes. Requests that arrive before their replica is open are
        // refused.
        node.transport
            .start(identity, transport_handler::TransportHandler::new(&node));
        node.dial_peers();
        if let Err(error) = node.open_replicas(admitted.bootstrap).await {
            node.shutdown().await;
            return Err(error);
        }
        if node.config.unsafe_recover {
            node.tasks.spawn(recovery::remove_others(node.clone()));
        }
        node.watch_store();
        node.tasks.spawn(heartbeat::run(node.clone()));
        node.tasks.spawn(reconcile::run(node.clone()));
        node.tasks.spawn(contacts::run(node.clone()));
        node.tasks.spawn(clock_exchange::run(node.clone()));
        node.tasks.spawn(readiness::run(node.clone()));
        node.tasks.spawn(failovers::run(node.clone()));
        tracing::info!(
            node = %node.id(),
            cluster = format!("{:016x}", identity.cluster),
            shards = node.shard_count(),
            replicas = node.replicas.read().len(),
            "cluster member started"
        );
        Ok(node)
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    pub(crate) fn cluster(&self) -> u64 {
        self.identity.cluster
    }

    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        self.map.load_full()
    }

    pub(crate) fn clock(&self) -> &ClusterClock {
        &self.config.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn state(&self, shard: ShardId) -> ShardState {
        self.store.state(shard)
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns whether this member was removed from the cluster.
    pub(crate) fn removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Returns the feature level of the cluster as known here.
    pub(crate) fn feature_level(&self) -> FeatureLevel {
        self.level.get()
    }

    /// Returns whether this build does not support the feature level of the cluster.
    pub(crate) fn is_below_level(&self) -> bool {
        self.below_level.load(Ordering::Acquire)
    }

    pub(crate) fn replica(&self, shard: ShardId) -> Option<Arc<Replica>> {
        self.replicas.read().get(&shard).cloned()
    }

    pub(crate) fn all_replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().values().cloned().collect()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// Adopts a newer cluster map: dials its peers and reconciles with its placement. Ignores an older map.
    pub(crate) fn adopt(self: &Arc<Member>, map: ClusterMap) {
        let known = self.map.load();
        if map.version <= known.version {
            return;
        }
        self.metrics.map_version(map.version);
        if map.has_removed(self.id()) {
            self.was_removed("the cluster map");
        }
        self.level.raise(map.level);
        self.metrics.feature_level(map.level);
        if map.level > self.config.supported_level {
            self.fell_below_level();
        }
        let encoded = map.encode();
        self.map.store(Arc::new(map));
        self.count_clocks();
        self.dial_peers();
        self.table.touch();
        self.changed.notify_one();
        let store = self.store.clone();
        // Saved for the next start, which dials these addresses to obtain the current map.
        self.tasks.spawn(blocking(move || {
            if let Err(error) = store.put_node(join::MAP, &encoded) {
                tracing::warn!(%error, "failed to persist the cluster map");
            }
        }));
    }

    /// Restricts the clock's majority to the members of the map that vote, and this one. In a recovery the others are to be removed, by a
    /// proposal that needs the time of a majority.
    fn count_clocks(&self) {
        let map = self.map.load();
        let counts = |node: &NodeId| *node == self.id() || !self.config.unsafe_recover;
        // Those that only route may come and go by dozens: no majority may depend on them.
        let mut members: Vec<NodeId> = map.electorate().filter(counts).collect();
        if !members.contains(&self.id()) {
            members.push(self.id());
        }
        self.clock().set_members(self.id(), members);
    }

    pub(crate) fn dial_peers(&self) {
        self.transport.set_peers(self.contacts.dialled(&self.map.load()));
    }

    /// Saves the records of the other members' disks if they have changed.
    pub(crate) fn save_disks(self: &Arc<Member>) {
        if self.store.poisoned().is_some() {
            return;
        }
        let map = self.map();
        let Some(records) = self.disks.unsaved(|node| map.nodes.contains_key(&node)) else {
            return;
        };
        // In a task: the reconciliation must not wait for the disk.
        let node = self.clone();
        self.tasks.spawn(blocking(move || {
            if let Err(error) = node.store.put_node(DISKS, &records)
                && let Some(held_back) = node.unsaved.due()
            {
                tracing::warn!(%error, held_back, "failed to persist peer disk incarnations");
            }
        }));
    }

    /// Purges the log entries that the previous call found applied.
    pub(crate) async fn trim(&self) {
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            // The lock is released before the await below.
            let mark = self.marks.lock().get(&shard).copied().unwrap_or(0);
            let applied = replica.group.trim(mark).await;
            self.marks.lock().insert(shard, applied);
        }
    }

    pub(crate) async fn shutdown(&self) {
        self.stopping.cancel();
        // Groups stop before the transport, so that peers get responses to requests in flight instead of a lost
        // connection.
        self.stop_replicas().await;
        self.transport.shutdown().await;
        // Ends the append tasks, for which the wait below would otherwise time out.
        self.server.forget_all();
        self.tasks.close();
        // A task that waits for a stalled disk must not block the stop of the process.
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.tasks.len(), "cluster tasks did not stop in time");
        }
        // A replica whose start raced with the stop may be in the table again.
        self.replicas.write().clear();
    }
}
