//! Assembles the conversation side of a node: actor threads, delivery queues, the cluster's [`Service`] and the handles
//! for sessions.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use cluster::{Cluster, Service, ShardId};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use super::dispatch::RpcDispatcher;
use crate::admin::NodeAdmin;
use crate::auth::ApiKeys;
use crate::forwarding::RequestForwarder;
use crate::presence::PresenceReporter;
use crate::presence::reporter::{RateDivision, ReporterDeps};
use crate::session::{SessionRegistry, UserRates};
use crate::shard::{BlockingPool, Settings, ShardDeps};
use crate::shard_client::{
    ClientContext, ClientSettings, CommandQueue, LocalShards, OwnerClient, ShardClient,
};
use crate::subscription;
use crate::subscription::{DeliveryReceiver, SubscriptionManager};
use crate::telemetry::{ConversationMetrics, EventLoop, LoopLag};

/// Time limit of [`ChatService::stop`] for the responses to the last commands.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Conversation side of one node.
///
/// ```text
/// ChatService::start ─▶ service() ─▶ Cluster::start ─▶ join(cluster) ─▶ … ─▶ stop()
/// ```
pub struct ChatService {
    shared: Arc<ShardDeps>,
    directory: Arc<RpcDispatcher>,
    relay: SubscriptionManager,
    deliveries: Mutex<Option<DeliveryReceiver>>,
    presence: PresenceReporter,
    updates: Mutex<Option<crate::presence::UpdateReceiver>>,
    arbiters: Mutex<Vec<Arbiter>>,
}

// === impl ChatService ===

impl ChatService {
    /// Starts the actor threads. Must be called inside an actix system; `reads` is the runtime whose blocking threads
    /// read the disk.
    #[must_use]
    pub fn start(settings: Settings, reads: Handle) -> ChatService {
        let metrics = ConversationMetrics::default();
        let arbiters: Vec<Arbiter> = (0..settings.arbiters.max(1)).map(|_| Arbiter::new()).collect();
        let handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let (relay, delivery_sender, delivery_receiver) = subscription::channels(metrics.clone());
        let pool = BlockingPool::new(reads, metrics.clone());
        let user_metrics = crate::telemetry::UserMetrics::default();
        let (presence, update_sender, updates) =
            crate::presence::reporter::channels(user_metrics.clone(), settings.clock.clone());
        let client = Arc::new(ClientContext::new(
            ClientSettings {
                command_timeout: settings.command_timeout,
                query_timeout: settings.query_timeout,
                activity_window: settings.activity_window,
                added: settings.added,
                clock: settings.clock.clone(),
            },
            metrics,
            user_metrics,
            pool.runtime().clone(),
        ));
        let shared = Arc::new(ShardDeps::new(
            client,
            settings,
            pool,
            delivery_sender,
            update_sender,
            handles,
        ));
        let directory = Arc::new(RpcDispatcher::new(shared.clone()));
        ChatService {
            shared,
            directory,
            relay,
            deliveries: Mutex::new(Some(delivery_receiver)),
            presence,
            updates: Mutex::new(Some(updates)),
            arbiters: Mutex::new(arbiters),
        }
    }

    /// Returns the handler of RPCs and ownership changes, for [`Cluster::start`].
    #[must_use]
    pub fn service(&self) -> Arc<dyn Service> {
        self.directory.clone()
    }

    /// Connects the running cluster member: from now on commands reach their shard owners, and owned shards are served.
    /// Later calls have no effect.
    pub fn join(&self, cluster: Cluster) {
        let shards = (0..cluster.shard_count()).map(ShardId);
        let command_queues: Vec<Arc<CommandQueue>> =
            shards.map(|shard| Arc::new(CommandQueue::new(shard))).collect();
        let owners = OwnerClient::new(cluster);
        let local: Arc<dyn LocalShards> = self.shared.clone();
        let client = &self.shared.client;
        if !client.join(owners.clone(), command_queues.clone(), local.clone()) {
            // A second call must not start a second set of queue tasks.
            return;
        }
        for (at, queue) in command_queues.into_iter().enumerate() {
            let shard = ShardId(u16::try_from(at).unwrap_or(u16::MAX));
            let run = queue.run(client.clone(), owners.clone(), local.clone());
            self.shared.arbiter(shard).spawn(run);
        }
        if let Some(delivery_receiver) = self.deliveries.lock().take() {
            self.shared
                .arbiter(ShardId(0))
                .spawn(subscription::run(client.clone(), delivery_receiver));
        }
        if let Some(updates) = self.updates.lock().take() {
            let rates = self
                .directory
                .rates()
                .map(|rates| Arc::new(rates) as Arc<dyn RateDivision>);
            let settings = self.shared.settings.users.clone();
            let deps = ReporterDeps { settings, rates };
            self.shared
                .arbiter(ShardId(0))
                .spawn(crate::presence::reporter::run(client.clone(), deps, updates));
        }
        // Opened last: a shard actor that starts earlier finds no cluster handle and no deliveries.
        self.directory.open();
    }

    /// Measures the lags of the actor threads from now on.
    pub fn measure_lags(&self, lag: &LoopLag) {
        for (number, arbiter) in self.arbiters.lock().iter().enumerate() {
            arbiter.spawn(lag.measure(EventLoop::Conversations(number)));
        }
    }

    /// Registers the sessions that serve the session RPCs of other nodes. Must be called before the cluster member
    /// runs.
    pub fn serve_sessions(&self, sessions: SessionRegistry) {
        self.directory.serve_sessions(sessions);
    }

    /// Registers the rate limits that shard owners divide between the nodes of a user. Must be called before the
    /// cluster member runs.
    pub fn serve_rates(&self, rates: UserRates) {
        self.directory.serve_rates(rates);
    }

    /// Registers the forwarder that serves the requests of clients from other nodes. Must be called before the cluster
    /// member runs.
    pub fn serve_forwarded(&self, forwarder: RequestForwarder) {
        self.directory.serve_forwarded(forwarder);
    }

    /// Registers the API keys, of which other nodes announce revocations. Must be called before the cluster member runs.
    pub fn serve_api_keys(&self, keys: ApiKeys) {
        self.directory.serve_api_keys(keys);
    }

    /// Registers the state of the node, for which operators ask. Until then the node counts as silent.
    pub fn serve_admin(&self, admin: NodeAdmin) {
        self.directory.serve_admin(admin);
    }

    /// Returns the handle by which sessions send commands and queries.
    #[must_use]
    pub fn conversations(&self) -> ShardClient {
        ShardClient::new(self.shared.client.clone())
    }

    /// Returns the handle from which each worker thread gets its `SubscriptionHub`.
    #[must_use]
    pub fn relay(&self) -> SubscriptionManager {
        self.relay.clone()
    }

    /// Returns the handle from which each worker thread gets its `LocalPresence`.
    #[must_use]
    pub fn presence(&self) -> PresenceReporter {
        self.presence.clone()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<ShardDeps> {
        &self.shared
    }

    /// Registers the metrics of conversations and users.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.client.metrics.register(registry);
        self.shared.client.user_metrics.register(registry);
    }

    /// Stops command queues, actors and threads, and waits for them. Commands without a response are refused. Called
    /// after the sessions are closed, before or after the cluster member stops.
    pub async fn stop(&self) {
        for queue in self.shared.client.command_queues() {
            queue.close(&self.shared.client);
        }
        // Cursors of the sessions that were just closed are still queued: cancelling now would lose them.
        let emptied = async {
            while self
                .shared
                .client
                .command_queues()
                .iter()
                .any(|queue| !queue.is_idle())
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Bounded: without a reachable shard owner the queues never become idle.
        let _ = tokio::time::timeout(LAST_WORDS, emptied).await;
        self.shared.end_all();
        self.shared.client.stop.cancel();
        let arbiters = std::mem::take(&mut *self.arbiters.lock());
        // `Arbiter::join` blocks, so it must not run on a thread of the async runtime.
        let joined = self.shared.reads.runtime().spawn_blocking(move || {
            for arbiter in arbiters {
                arbiter.stop();
                // A thread that panicked has nothing left to stop.
                let _ = arbiter.join();
            }
        });
        let _ = joined.await;
    }
}
