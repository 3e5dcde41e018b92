//! A running member: its replicas, its routes, its view of the others.

mod ears;
mod pulse;
mod replicas;
mod requests;
mod routes;

pub(crate) use replicas::Replica;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use storage::{ShardId, State, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::blocking;
use crate::clock::{Clock, exchange};
use crate::config::Config;
use crate::error::Error;
use crate::machine::Machine;
use crate::membership::contacts::{self, Contacts};
use crate::membership::disks::{self, Disks};
use crate::membership::health::Health;
use crate::membership::{admission, reconcile};
use crate::metrics::Metrics;
use crate::ownership::table::Table;
use crate::raft::serve::Server;
use crate::raft::snapshot::Imports;
use crate::seldom::Seldom;
use crate::service::Service;
use crate::shard::map::Map;
use crate::transport::{Identity, Transport};
use crate::types::NodeId;

/// Node-wide facts on disk: written at every start, ...
const STARTED: &str = "cluster/started";
/// ... and what is known of the others' disks.
const DISKS: &str = "cluster/disks";
/// How often it is logged that the same fails again.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A running member of a cluster.
pub(crate) struct Node {
    pub(crate) config: Config,
    identity: Identity,
    store: Store,
    transport: Arc<dyn Transport>,
    machine: Arc<dyn Machine>,
    service: Arc<dyn Service>,
    replicas: RwLock<HashMap<ShardId, Arc<Replica>>>,
    map: ArcSwap<Map>,
    pub(crate) table: Table,
    pub(crate) health: Health,
    pub(crate) disks: Disks,
    pub(crate) contacts: Contacts,
    server: Server,
    /// Something changed that placement, replicas or leadership depend on.
    pub(crate) changed: Notify,
    /// Where the last [`Node::trim`] found each replica.
    marks: Mutex<HashMap<ShardId, u64>>,
    draining: AtomicBool,
    /// An operator removed this member from the cluster: it serves nothing any more.
    removed: AtomicBool,
    settled: AtomicBool,
    stopping: CancellationToken,
    tasks: TaskTracker,
    metrics: Metrics,
    /// Replicas that had failed and were started again.
    restarts: Seldom,
    /// What is known of the other disks was not saved.
    unsaved: Seldom,
}

// === impl Node ===

impl Node {
    pub(crate) async fn start(
        config: Config,
        store: Store,
        transport: Arc<dyn Transport>,
        machine: Arc<dyn Machine>,
        service: Arc<dyn Service>,
    ) -> Result<Arc<Node>, Error> {
        let admitted = admission::admit(&config, &store, transport.as_ref()).await?;
        let rounds = store.synced_rounds();
        // A round at least in every life: no two have the same incarnation.
        store.put_node(STARTED, &[])?;
        let disks = Disks::load(store.get_node(DISKS)?.as_deref(), config.trust_disks)?;
        let identity = Identity {
            node: admitted.node,
            cluster: admitted.cluster,
            incarnation: disks::incarnation(rounds, rand::random()),
        };
        let tasks = TaskTracker::new();
        let node = Arc::new(Node {
            identity,
            server: Server::new(Imports::new(store.clone()), tasks.clone()),
            replicas: RwLock::default(),
            map: ArcSwap::from_pointee(admitted.map),
            table: Table::new(),
            health: Health::new(),
            disks,
            contacts: Contacts::default(),
            changed: Notify::new(),
            marks: Mutex::default(),
            draining: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            metrics: Metrics::default(),
            restarts: Seldom::every(LOG_EVERY),
            unsaved: Seldom::every(LOG_EVERY),
            tasks,
            config,
            store,
            transport,
            machine,
            service,
        });
        node.count_clocks();
        node.transport.start(identity, ears::Ears::new(&node));
        node.dial_peers();
        if let Err(error) = node.open_replicas(admitted.bootstrap).await {
            node.shutdown().await;
            return Err(error);
        }
        node.watch_store();
        node.tasks.spawn(pulse::run(node.clone()));
        node.tasks.spawn(reconcile::run(node.clone()));
        node.tasks.spawn(contacts::run(node.clone()));
        node.tasks.spawn(exchange::run(node.clone()));
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

    pub(crate) fn map(&self) -> Arc<Map> {
        self.map.load_full()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.config.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn state(&self, shard: ShardId) -> State {
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

    /// Takes over a newer map: other peers, other placements.
    pub(crate) fn adopt(self: &Arc<Node>, map: Map) {
        let known = self.map.load();
        if map.version <= known.version {
            return;
        }
        self.metrics.map_version(map.version);
        if map.has_removed(self.id()) {
            self.was_removed("the cluster map");
        }
        let encoded = map.encode();
        self.map.store(Arc::new(map));
        self.count_clocks();
        self.dial_peers();
        self.table.touch();
        self.changed.notify_one();
        let store = self.store.clone();
        // Kept for the next start, when it says whom to ask for the current one.
        self.tasks.spawn(blocking(move || {
            if let Err(error) = store.put_node(admission::MAP, &encoded) {
                tracing::warn!(%error, "the cluster map was not saved");
            }
        }));
    }

    /// Only members' clocks count.
    fn count_clocks(&self) {
        let members = self.map.load().nodes.keys().copied().collect();
        self.clock().set_members(self.id(), members);
    }

    pub(crate) fn dial_peers(&self) {
        self.transport.set_peers(self.contacts.dialled(&self.map.load()));
    }

    /// Writes down what was heard of the others' disks, if it has changed.
    pub(crate) fn save_disks(self: &Arc<Node>) {
        if self.store.poisoned().is_some() {
            return;
        }
        let map = self.map();
        let Some(heard) = self.disks.unsaved(|node| map.nodes.contains_key(&node)) else {
            return;
        };
        let node = self.clone();
        self.tasks.spawn(blocking(move || {
            if let Err(error) = node.store.put_node(DISKS, &heard)
                && let Some(held_back) = node.unsaved.due()
            {
                tracing::warn!(%error, held_back, "what is known of the other disks was not saved");
            }
        }));
    }

    /// A member knows more of this node's disk than is on it: this node must not vote, confirm or own any more.
    pub(crate) fn condemned(&self, by: NodeId) {
        if self.store.poisoned().is_none() {
            let rounds = self.incarnation() >> 16;
            self.store.condemn(format!(
                "this is an older copy of the node's disk: node {by} has seen it newer (it had {rounds} synced rounds at the start). Wipe it, remove the node, and let it join anew; or put the newer disk back"
            ));
        }
    }

    /// Stops serving: an operator removed this member, `according_to` another one or the map. The data directory keeps a
    /// mark, so that the next start says what to do instead of dialling nodes that refuse it.
    pub(crate) fn was_removed(self: &Arc<Node>, according_to: &str) {
        if self.removed.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!(
            node = %self.id(),
            according_to,
            "removed from the cluster; this node serves nothing any more: stop it, empty storage.dir, and start it to join under a new number"
        );
        let node = self.clone();
        self.tasks.spawn(async move {
            let store = node.store.clone();
            let marked = blocking(move || store.put_node(admission::REMOVED, &[])).await;
            if !matches!(marked, Ok(Ok(()))) {
                tracing::warn!(
                    "the removal was not written down; the next start learns of it from the other nodes"
                );
            }
            node.stop_replicas().await;
        });
    }

    /// A poisoned store acknowledges nothing more: every replica steps down, so that others take over.
    fn watch_store(self: &Arc<Node>) {
        let node = Arc::downgrade(self);
        let runtime = tokio::runtime::Handle::current();
        self.store.on_poison(move |error| {
            tracing::error!(%error, "the disk failed; this node steps down from all shards and acknowledges nothing");
            if let Some(node) = node.upgrade() {
                runtime.spawn(async move { node.stop_replicas().await });
            }
        });
    }

    /// Purges the log entries that the last call found applied.
    pub(crate) async fn trim(&self) {
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            let mark = self.marks.lock().get(&shard).copied().unwrap_or(0);
            let applied = replica.group.trim(mark).await;
            self.marks.lock().insert(shard, applied);
        }
    }

    /// Hands all owned shards to other members.
    pub(crate) async fn drain(self: &Arc<Node>) {
        self.draining.store(true, Ordering::Release);
        self.announce();
        let drained = tokio::time::timeout(self.config.drain_deadline, reconcile::hand_over(self)).await;
        if drained.is_err() {
            let left = self.owned().len();
            tracing::warn!(
                left,
                "stopping with shards not handed over; their new owners wait for an election"
            );
        }
    }

    pub(crate) async fn shutdown(&self) {
        self.stopping.cancel();
        self.stop_replicas().await;
        self.transport.shutdown().await;
        self.server.forget_all();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.tasks.len(), "cluster tasks did not stop in time");
        }
        self.replicas.write().clear();
    }
}
