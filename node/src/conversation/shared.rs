//! State shared by all parts of a node's conversation side: cluster handle, owned shards, settings, metrics.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use actix::{Addr, ArbiterHandle};
use cluster::{Cluster, NodeId, ShardId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics::ConversationMetrics;
use super::queries::pool::BlockingPool;
use super::settings::Settings;
use super::shard::ShardActor;
use super::shard_client::OwnerClient;
use super::shard_client::command_queue::CommandQueue;
use crate::relay::DeliverySender;
use crate::rpc::RpcError;
use crate::session::{SessionRegistry, UserRates};
use crate::user::registry;
use crate::user::reporter;

/// Revocation broadcasts that may retry at the same time. Above it each node gets one attempt.
const BROADCASTS: usize = 1_024;

pub(crate) struct ServiceShared {
    pub(crate) settings: Settings,
    /// Identifies this process to the shard owners; random.
    pub(crate) incarnation: u64,
    pub(crate) metrics: ConversationMetrics,
    pub(crate) reads: BlockingPool,
    pub(crate) deliveries: DeliverySender,
    pub(crate) user_metrics: crate::user::metrics::UserMetrics,
    /// Queue for presence updates from the owners of users' shards.
    pub(crate) updates: reporter::UpdateSender,
    pub(crate) arbiters: Vec<ArbiterHandle>,
    /// Set once, when the cluster member runs.
    joined: OnceLock<JoinedShard>,
    active: RwLock<HashMap<ShardId, ActiveShard>>,
    /// Age of the oldest outbox entry per owned shard, in milliseconds.
    outbox: Mutex<HashMap<ShardId, i64>>,
    /// Empty until the sessions of the node are registered.
    sessions: OnceLock<SessionRegistry>,
    /// Empty until the rate limits of the node are registered.
    rates: OnceLock<UserRates>,
    /// Permits for broadcasts that retry at nodes without a response.
    pub(crate) broadcasts: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

struct JoinedShard {
    owners: OwnerClient,
    command_queues: Vec<Arc<CommandQueue>>,
}

/// Shard that this node owns.
#[derive(Clone)]
pub(crate) struct ActiveShard {
    pub(crate) epoch: u64,
    pub(crate) addr: Addr<ShardActor>,
    /// Presence of the shard's users.
    pub(crate) users: Arc<registry::SharedPresenceRegistry>,
    /// Ends the shard's actors.
    pub(crate) end: CancellationToken,
}

// === impl ServiceShared ===

impl ServiceShared {
    pub(crate) fn new(
        settings: Settings,
        reads: BlockingPool,
        metrics: ConversationMetrics,
        deliveries: DeliverySender,
        (user_metrics, updates): (crate::user::metrics::UserMetrics, reporter::UpdateSender),
        arbiters: Vec<ArbiterHandle>,
    ) -> ServiceShared {
        ServiceShared {
            settings,
            incarnation: rand::random(),
            metrics,
            reads,
            deliveries,
            user_metrics,
            updates,
            arbiters,
            joined: OnceLock::new(),
            active: RwLock::new(HashMap::new()),
            outbox: Mutex::default(),
            sessions: OnceLock::new(),
            rates: OnceLock::new(),
            broadcasts: Arc::new(Semaphore::new(BROADCASTS)),
            stop: CancellationToken::new(),
        }
    }

    /// Returns the running cluster member, or `None` until it runs.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.owners().map(OwnerClient::cluster)
    }

    /// Returns the client of the shard owners, or `None` until the cluster member runs.
    pub(crate) fn owners(&self) -> Option<&OwnerClient> {
        self.joined.get().map(|joined| &joined.owners)
    }

    /// Returns the sessions of this node, or `None` until they are registered.
    pub(crate) fn sessions(&self) -> Option<&SessionRegistry> {
        self.sessions.get()
    }

    /// Registers the sessions of this node; later calls have no effect.
    pub(crate) fn serve_sessions(&self, sessions: SessionRegistry) {
        let _set = self.sessions.set(sessions);
    }

    /// Returns the per-user rate limits of this node, or `None` until they are registered.
    pub(crate) fn rates(&self) -> Option<&UserRates> {
        self.rates.get()
    }

    /// Registers the per-user rate limits; later calls have no effect.
    pub(crate) fn serve_rates(&self, rates: UserRates) {
        let _set = self.rates.set(rates);
    }

    /// Returns the command queue of a shard, or `None` until the cluster member runs.
    pub(crate) fn command_queue(&self, shard: ShardId) -> Option<&Arc<CommandQueue>> {
        self.joined.get()?.command_queues.get(usize::from(shard.0))
    }

    /// Returns all command queues, indexed by shard; empty until the cluster member runs.
    pub(crate) fn command_queues(&self) -> &[Arc<CommandQueue>] {
        self.joined.get().map_or(&[], |joined| &joined.command_queues)
    }

    /// Sets the client of the running cluster member and the command queues. Returns false, without effect, if they are set already.
    pub(crate) fn join(&self, owners: OwnerClient, command_queues: Vec<Arc<CommandQueue>>) -> bool {
        self.joined
            .set(JoinedShard {
                owners,
                command_queues,
            })
            .is_ok()
    }

    /// Returns the thread that runs everything of a shard.
    pub(crate) fn arbiter(&self, shard: ShardId) -> &ArbiterHandle {
        // Always the same thread: the actors of a shard share their state without locks.
        &self.arbiters[usize::from(shard.0) % self.arbiters.len()]
    }

    /// Returns the actors of a shard if this node owns it.
    pub(crate) fn active(&self, shard: ShardId) -> Option<ActiveShard> {
        self.active.read().get(&shard).cloned()
    }

    /// Registers a shard's actor and ends its predecessor.
    pub(crate) fn set_active(&self, shard: ShardId, active: ActiveShard) {
        // Ended after the swap, so that later calls reach the new actor only.
        if let Some(old) = self.active.write().insert(shard, active) {
            old.end.cancel();
        }
        self.metrics.shards.set(self.active.read().len() as i64);
    }

    /// Ends a shard's actors, if they are of this epoch.
    pub(crate) fn end_active(&self, shard: ShardId, epoch: u64) {
        // A late call for an old epoch must not end the actors of a newer one.
        let mut active = self.active.write();
        if active.get(&shard).is_some_and(|active| active.epoch == epoch)
            && let Some(old) = active.remove(&shard)
        {
            old.end.cancel();
            self.outbox.lock().remove(&shard);
        }
        self.metrics.shards.set(active.len() as i64);
    }

    /// Ends the actors of every shard.
    pub(crate) fn end_all(&self) {
        for (_, old) in self.active.write().drain() {
            old.end.cancel();
        }
        self.metrics.shards.set(0);
    }

    /// Records the age of a shard's oldest outbox entry; the metric shows the maximum of all shards.
    pub(crate) fn outbox_lag(&self, shard: ShardId, oldest_ms: i64) {
        let mut outbox = self.outbox.lock();
        outbox.insert(shard, oldest_ms);
        self.metrics
            .outbox_oldest_ms
            .set(outbox.values().copied().max().unwrap_or(0));
    }

    /// Creates the refusal that names the shard owner as known here, never this node itself.
    pub(crate) fn not_owner(&self, shard: ShardId) -> RpcError {
        let Some(cluster) = self.cluster() else {
            return RpcError::NotOwner {
                owner: None,
                epoch: 0,
            };
        };
        let route = cluster.route(shard);
        // A stale route may name this node; callers would send the request here again and again.
        let owner = route.owner.filter(|owner| *owner != cluster.node_id());
        RpcError::NotOwner {
            owner: owner.map(|NodeId(id)| id),
            epoch: route.epoch,
        }
    }
}
