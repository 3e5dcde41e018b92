//! State of one node that the actors of its owned shards share.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Addr, ArbiterHandle};
use cluster::ShardId;
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::actor::ShardActor;
use super::queries::blocking_pool::BlockingPool;
use super::settings::Settings;
use crate::auth::RevocationBroadcast;
use crate::presence::{registry, reporter};
use crate::shard_client::ClientContext;
use crate::subscription::DeliverySender;

pub(crate) struct ShardDeps {
    pub(crate) client: Arc<ClientContext>,
    pub(crate) settings: Settings,
    pub(crate) reads: BlockingPool,
    pub(crate) deliveries: DeliverySender,
    /// Queue for presence updates from the owners of users' shards.
    pub(crate) updates: reporter::UpdateSender,
    pub(crate) revocations: RevocationBroadcast,
    pub(crate) arbiters: Vec<ArbiterHandle>,
    active: RwLock<HashMap<ShardId, ActiveShard>>,
    /// Age of the oldest outbox entry per owned shard, in milliseconds.
    outbox: Mutex<HashMap<ShardId, i64>>,
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

// === impl ShardDeps ===

impl ShardDeps {
    pub(crate) fn new(
        client: Arc<ClientContext>,
        settings: Settings,
        reads: BlockingPool,
        deliveries: DeliverySender,
        updates: reporter::UpdateSender,
        arbiters: Vec<ArbiterHandle>,
    ) -> ShardDeps {
        ShardDeps {
            revocations: RevocationBroadcast::new(client.clone()),
            client,
            settings,
            reads,
            deliveries,
            updates,
            arbiters,
            active: RwLock::new(HashMap::new()),
            outbox: Mutex::default(),
        }
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
        self.client.metrics.shards.set(self.active.read().len() as i64);
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
        self.client.metrics.shards.set(active.len() as i64);
    }

    /// Ends the actors of every shard.
    pub(crate) fn end_all(&self) {
        for (_, old) in self.active.write().drain() {
            old.end.cancel();
        }
        self.client.metrics.shards.set(0);
    }

    /// Records the age of a shard's oldest outbox entry; the metric shows the maximum of all shards.
    pub(crate) fn outbox_lag(&self, shard: ShardId, oldest_ms: i64) {
        let mut outbox = self.outbox.lock();
        outbox.insert(shard, oldest_ms);
        let oldest_ms = outbox.values().copied().max().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "ages stay far below 2^53 ms")]
        self.client.metrics.outbox_oldest.set(oldest_ms as f64 / 1_000.0);
    }
}
