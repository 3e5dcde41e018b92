//! What all parts of the conversation side of a node share: the cluster, the owned shards, the settings, the figures.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use actix::{Addr, ArbiterHandle};
use cluster::{Cluster, NodeId, ShardId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::reads::pool::Pool;
use super::route::lane::Lane;
use super::settings::Settings;
use super::shard::ShardActor;
use crate::relay::Inlet;
use crate::rpc::Refused;
use crate::session::{Rates, Sessions};
use crate::user::attendance;
use crate::user::directory;

/// Endings of logins that are told again at the same time; of more each node is told once.
const TELLERS: usize = 1_024;

/// One per node.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Names this process to the owners; random.
    pub(crate) incarnation: u64,
    pub(crate) metrics: Metrics,
    pub(crate) reads: Pool,
    pub(crate) inlet: Inlet,
    pub(crate) user_metrics: crate::user::metrics::Metrics,
    /// Where news of the owners of users' shards enters.
    pub(crate) news: attendance::Inlet,
    pub(crate) arbiters: Vec<ArbiterHandle>,
    /// Set once, when the cluster member runs.
    joined: OnceLock<Joined>,
    active: RwLock<HashMap<ShardId, Active>>,
    /// Age of the oldest outbox entry per owned shard, in milliseconds.
    outbox: Mutex<HashMap<ShardId, i64>>,
    /// The sessions of this node, once there are to be any.
    sessions: OnceLock<Sessions>,
    /// What users may ask here, once anybody may.
    rates: OnceLock<Rates>,
    /// Ended logins of which nodes are told that don't answer at once.
    pub(crate) tellers: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

struct Joined {
    cluster: Cluster,
    lanes: Vec<Arc<Lane>>,
}

/// A shard that this node owns.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) epoch: u64,
    pub(crate) addr: Addr<ShardActor>,
    /// Who of the shard's users is there.
    pub(crate) users: Arc<directory::Shared>,
    /// Ends the shard's actors.
    pub(crate) end: CancellationToken,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        reads: Pool,
        metrics: Metrics,
        inlet: Inlet,
        (user_metrics, news): (crate::user::metrics::Metrics, attendance::Inlet),
        arbiters: Vec<ArbiterHandle>,
    ) -> Shared {
        Shared {
            settings,
            incarnation: rand::random(),
            metrics,
            reads,
            inlet,
            user_metrics,
            news,
            arbiters,
            joined: OnceLock::new(),
            active: RwLock::new(HashMap::new()),
            outbox: Mutex::default(),
            sessions: OnceLock::new(),
            rates: OnceLock::new(),
            tellers: Arc::new(Semaphore::new(TELLERS)),
            stop: CancellationToken::new(),
        }
    }

    /// The running cluster member; `None` until it runs.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.joined.get().map(|joined| &joined.cluster)
    }

    /// The sessions of this node.
    pub(crate) fn sessions(&self) -> Option<&Sessions> {
        self.sessions.get()
    }

    /// Sets the sessions of this node; only the first call counts.
    pub(crate) fn serve_sessions(&self, sessions: Sessions) {
        let _set = self.sessions.set(sessions);
    }

    /// What users may ask here.
    pub(crate) fn rates(&self) -> Option<&Rates> {
        self.rates.get()
    }

    /// Sets what users may ask here; only the first call counts.
    pub(crate) fn serve_rates(&self, rates: Rates) {
        let _set = self.rates.set(rates);
    }

    /// The lane to a shard's owner; `None` until the cluster member runs.
    pub(crate) fn lane(&self, shard: ShardId) -> Option<&Arc<Lane>> {
        self.joined.get()?.lanes.get(usize::from(shard.0))
    }

    /// Every lane.
    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        self.joined.get().map_or(&[], |joined| &joined.lanes)
    }

    /// Sets the cluster member; only the first call counts.
    pub(crate) fn join(&self, cluster: Cluster, lanes: Vec<Arc<Lane>>) -> bool {
        self.joined.set(Joined { cluster, lanes }).is_ok()
    }

    /// The thread on which everything of a shard runs.
    pub(crate) fn arbiter(&self, shard: ShardId) -> &ArbiterHandle {
        &self.arbiters[usize::from(shard.0) % self.arbiters.len()]
    }

    /// The actors of a shard that this node owns.
    pub(crate) fn active(&self, shard: ShardId) -> Option<Active> {
        self.active.read().get(&shard).cloned()
    }

    /// Puts a shard's actor in the place of its predecessor, which is ended.
    pub(crate) fn set_active(&self, shard: ShardId, active: Active) {
        if let Some(old) = self.active.write().insert(shard, active) {
            old.end.cancel();
        }
        self.metrics.shards.set(self.active.read().len() as i64);
    }

    /// Ends a shard's actors, if they are of this epoch.
    pub(crate) fn end_active(&self, shard: ShardId, epoch: u64) {
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

    /// Takes the age of a shard's oldest outbox entry into the figure of the node.
    pub(crate) fn outbox_lag(&self, shard: ShardId, oldest_ms: i64) {
        let mut outbox = self.outbox.lock();
        outbox.insert(shard, oldest_ms);
        self.metrics
            .outbox_oldest_ms
            .set(outbox.values().copied().max().unwrap_or(0));
    }

    /// The refusal that names the owner as far as this node knows it, never itself.
    pub(crate) fn not_owner(&self, shard: ShardId) -> Refused {
        let Some(cluster) = self.cluster() else {
            return Refused::NotOwner {
                owner: None,
                epoch: 0,
            };
        };
        let route = cluster.route(shard);
        let owner = route.owner.filter(|owner| *owner != cluster.node_id());
        Refused::NotOwner {
            owner: owner.map(|NodeId(id)| id),
            epoch: route.epoch,
        }
    }
}
