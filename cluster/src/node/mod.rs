//! A running member: its replicas, its routes, its view of the others.

mod ears;
mod requests;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use storage::{ShardId, State, Store};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::blocking;
use crate::config::Config;
use crate::error::{Error, NotOwner};
use crate::machine::Machine;
use crate::membership::health::Health;
use crate::membership::{admission, reconcile};
use crate::metrics::Metrics;
use crate::ownership::Owner;
use crate::ownership::supervise::supervise;
use crate::ownership::table::Table;
use crate::raft::group::{Group, Parts};
use crate::raft::serve::Server;
use crate::raft::snapshot::Imports;
use crate::service::{Owned, Service};
use crate::shard::META;
use crate::shard::map::{Map, MapMachine};
use crate::shard::propose::Proposer;
use crate::transport::{Identity, Transport};
use crate::types::{NodeId, shard_name};

/// How long a replica must have run before it is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(2);

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
    server: Server,
    /// Something changed that placement, replicas or leadership depend on.
    pub(crate) changed: Notify,
    draining: AtomicBool,
    settled: AtomicBool,
    stopping: CancellationToken,
    tasks: TaskTracker,
    metrics: Metrics,
}

/// One shard's replica on this node.
pub(crate) struct Replica {
    pub(crate) group: Group,
    active: Mutex<Option<Proposer>>,
    /// When the last epoch began here, or the replica started.
    pub(crate) since: Mutex<Instant>,
    /// A change of its members or its leader is under way.
    pub(crate) busy: AtomicBool,
    /// Cancelled when the replica is let go.
    pub(crate) over: CancellationToken,
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
        let identity = Identity {
            node: admitted.node,
            cluster: admitted.cluster,
            incarnation: rand::random::<u64>(),
        };
        let tasks = TaskTracker::new();
        let node = Arc::new(Node {
            identity,
            server: Server::new(Imports::new(store.clone()), tasks.clone()),
            replicas: RwLock::default(),
            map: ArcSwap::from_pointee(admitted.map),
            table: Table::new(),
            health: Health::new(),
            changed: Notify::new(),
            draining: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            metrics: Metrics::default(),
            tasks,
            config,
            store,
            transport,
            machine,
            service,
        });
        node.transport.start(identity, ears::Ears::new(&node));
        node.dial_peers();
        if let Err(error) = node.open_replicas(admitted.bootstrap).await {
            node.shutdown().await;
            return Err(error);
        }
        node.watch_store();
        node.tasks.spawn(reconcile::run(node.clone()));
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

    pub(crate) fn replica(&self, shard: ShardId) -> Option<Arc<Replica>> {
        self.replicas.read().get(&shard).cloned()
    }

    pub(crate) fn all_replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().values().cloned().collect()
    }

    /// Starts what the disk holds; a node that bootstraps makes all groups.
    async fn open_replicas(self: &Arc<Node>, bootstrap: bool) -> Result<(), Error> {
        for shard in self.store.shards()? {
            self.start_replica(shard).await?;
        }
        if bootstrap {
            admission::bootstrap(self).await?;
        }
        if let Some(map) = Map::load(&self.state(META))? {
            self.adopt(map);
        }
        Ok(())
    }

    /// Starts a replica, unless it runs.
    pub(crate) async fn start_replica(self: &Arc<Node>, shard: ShardId) -> Result<Arc<Replica>, Error> {
        if let Some(replica) = self.replica(shard) {
            return Ok(replica);
        }
        let machine: Arc<dyn Machine> = if shard == META {
            Arc::new(MapMachine)
        } else {
            self.machine.clone()
        };
        let parts = Parts {
            node: self.id(),
            store: self.store.clone(),
            transport: self.transport.clone(),
            machine,
            watcher: ears::Ears::new(self),
        };
        let group = Group::start(shard, &self.config, parts).await?;
        let replica = Arc::new(Replica {
            group,
            active: Mutex::new(None),
            since: Mutex::new(Instant::now()),
            busy: AtomicBool::new(false),
            over: self.stopping.child_token(),
        });
        self.replicas.write().insert(shard, replica.clone());
        self.tasks.spawn(supervise(self.clone(), replica.clone()));
        Ok(replica)
    }

    /// Starts a replica again that a full disk had stopped, once there is room.
    pub(crate) async fn restart_failed(self: &Arc<Node>) -> Result<(), Error> {
        if self.store.poisoned().is_some() || self.store.room().is_err() {
            return Ok(());
        }
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            // What fails at once after a restart, as on a damaged record, must not fail in a tight loop.
            let rested = replica.since.lock().elapsed() >= RESTART_PAUSE;
            if let Some(reason) = replica.group.failure().filter(|_| rested)
                && !self.stopping.is_cancelled()
            {
                replica.over.cancel();
                self.deactivate(&replica);
                replica.group.shutdown().await;
                self.server.forget(shard);
                self.replicas.write().remove(&shard);
                self.start_replica(shard).await?;
                tracing::warn!(
                    shard = shard_name(shard),
                    reason,
                    "a replica had failed; started again"
                );
            }
        }
        Ok(())
    }

    /// Lets a replica go that other nodes hold now, with its rows.
    pub(crate) async fn remove_replica(&self, shard: ShardId) -> Result<(), Error> {
        let Some(replica) = self.replicas.write().remove(&shard) else {
            return Ok(());
        };
        replica.over.cancel();
        replica.group.shutdown().await;
        self.server.forget(shard);
        let state = self.state(shard);
        blocking(move || state.destroy())
            .await
            .map_err(|_| Error::Stopped)??;
        tracing::info!(shard = shard_name(shard), "replica removed");
        Ok(())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Takes over a newer map: other peers, other placements.
    pub(crate) fn adopt(self: &Arc<Node>, map: Map) {
        let known = self.map.load();
        if map.version <= known.version {
            return;
        }
        self.metrics.map_version(map.version);
        let encoded = map.encode();
        self.map.store(Arc::new(map));
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

    fn dial_peers(&self) {
        let map = self.map.load();
        self.transport.set_peers(
            map.nodes
                .values()
                .map(|node| (node.id, node.addr.clone()))
                .collect(),
        );
    }

    /// A takeover was applied on this replica.
    pub(crate) fn taken_over(self: &Arc<Node>, shard: ShardId, owner: Owner) {
        self.table.learn(shard, owner.node, owner.epoch);
        let Some(replica) = self.replica(shard) else {
            return;
        };
        if owner.node == self.id() && owner.incarnation == self.incarnation() {
            self.activate(&replica, owner.epoch);
        } else {
            self.deactivate(&replica);
        }
    }

    fn activate(self: &Arc<Node>, replica: &Arc<Replica>, epoch: u64) {
        let shard = replica.group.shard();
        self.deactivate(replica);
        let proposer = Proposer::new(shard, epoch, &self.config, self.metrics.clone());
        *replica.active.lock() = Some(proposer.clone());
        *replica.since.lock() = Instant::now();
        self.metrics.took_over();
        self.tasks
            .spawn(proposer.clone().run(replica.group.clone(), self.store.clone()));
        if shard != META {
            self.service.activated(Owned {
                shard,
                epoch,
                proposer,
            });
        }
        self.announce();
        self.changed.notify_one();
    }

    pub(crate) fn deactivate(&self, replica: &Replica) {
        let Some(proposer) = replica.active.lock().take() else {
            return;
        };
        let shard = replica.group.shard();
        proposer.close();
        self.metrics.lost();
        if shard != META {
            self.service.deactivated(shard, proposer.epoch());
        }
    }

    /// Waits until a local read sees every acknowledged write.
    pub(crate) async fn readable(&self, shard: ShardId, epoch: u64) -> Result<(), NotOwner> {
        let replica = self.replica(shard).ok_or(NotOwner)?;
        if replica.epoch() != Some(epoch) || !replica.group.linearize(self.config.election_max).await {
            return Err(NotOwner);
        }
        if replica.epoch() == Some(epoch) {
            Ok(())
        } else {
            Err(NotOwner)
        }
    }

    /// Proposes a batch under any epoch: the simulation's deposed owner.
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn propose_as(
        &self,
        shard: ShardId,
        epoch: u64,
        commands: Vec<bytes::Bytes>,
    ) -> Option<bool> {
        use crate::raft::{Answer, Proposal};
        let commands = crate::shard::batch::pack(&commands);
        let group = self.replica(shard)?.group.clone();
        let (_, answer) = group
            .propose(Proposal::Batch {
                epoch,
                now_ms: 0,
                commands,
            })
            .await
            .ok()?;
        Some(matches!(answer, Answer::Outcomes(_)))
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

    async fn stop_replicas(&self) {
        // Taken out first: requests that still arrive find no replica instead of a stopped one.
        let replicas: Vec<Arc<Replica>> = self
            .replicas
            .write()
            .drain()
            .map(|(_, replica)| replica)
            .collect();
        futures::future::join_all(replicas.iter().map(|replica| async move {
            replica.over.cancel();
            self.deactivate(replica);
            replica.group.shutdown().await;
        }))
        .await;
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

// === impl Replica ===

impl Replica {
    /// The epoch under which this replica owns its shard.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.active.lock().as_ref().map(Proposer::epoch)
    }

    pub(crate) fn proposer(&self) -> Option<Proposer> {
        self.active.lock().clone()
    }
}
