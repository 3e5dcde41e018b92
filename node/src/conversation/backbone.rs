//! All of a node's conversation side, put together: threads, queues, the ears for the cluster, the handles for sessions.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use cluster::{Cluster, Service, ShardId};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use super::directory::Directory;
use super::metrics::Metrics;
use super::reads::pool::Pool;
use super::route::Conversations;
use super::route::lane::Lane;
use super::settings::Settings;
use super::shared::Shared;
use crate::relay::{self, Outlet, Relay};
use crate::session::{Rates, Sessions};
use crate::user::{self, Attendance};

/// How long a stop waits for the answers to the last commands.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The conversation side of one node.
///
/// ```text
/// Backbone::start ─▶ service() ─▶ Cluster::start ─▶ join(cluster) ─▶ … ─▶ stop()
/// ```
pub struct Backbone {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    relay: Relay,
    outlet: Mutex<Option<Outlet>>,
    attendance: Attendance,
    news: Mutex<Option<user::attendance::Outlet>>,
    arbiters: Mutex<Vec<Arbiter>>,
}

// === impl Backbone ===

impl Backbone {
    /// Starts the actors' threads. Call it inside an actix system; `reads` is the runtime whose blocking threads read
    /// the disk.
    #[must_use]
    pub fn start(settings: Settings, reads: Handle) -> Backbone {
        let metrics = Metrics::default();
        let arbiters: Vec<Arbiter> = (0..settings.arbiters.max(1)).map(|_| Arbiter::new()).collect();
        let handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let (relay, inlet, outlet) =
            relay::channels(settings.relay_frames, settings.worker_batches, metrics.clone());
        let pool = Pool::new(reads, &settings, metrics.clone());
        let user_metrics = user::metrics::Metrics::default();
        let (attendance, news_inlet, news) = user::attendance::channels(
            settings.users.news,
            settings.users.worker_batches,
            user_metrics.clone(),
            settings.clock.clone(),
        );
        let users = (user_metrics, news_inlet);
        let shared = Arc::new(Shared::new(settings, pool, metrics, inlet, users, handles));
        let directory = Arc::new(Directory::new(shared.clone()));
        Backbone {
            shared,
            directory,
            relay,
            outlet: Mutex::new(Some(outlet)),
            attendance,
            news: Mutex::new(Some(news)),
            arbiters: Mutex::new(arbiters),
        }
    }

    /// The ears, for [`Cluster::start`].
    #[must_use]
    pub fn service(&self) -> Arc<dyn Service> {
        self.directory.clone()
    }

    /// Connects the running cluster member: from now on commands find their owners, and owned shards are served.
    pub fn join(&self, cluster: Cluster) {
        let shards = (0..cluster.shard_count()).map(ShardId);
        let lanes: Vec<Arc<Lane>> = shards
            .map(|shard| Arc::new(Lane::new(shard, &self.shared)))
            .collect();
        if !self.shared.join(cluster.clone(), lanes.clone()) {
            return;
        }
        for (at, lane) in lanes.into_iter().enumerate() {
            let shard = ShardId(u16::try_from(at).unwrap_or(u16::MAX));
            let run = lane.run(self.shared.clone(), cluster.clone());
            self.shared.arbiter(shard).spawn(run);
        }
        if let Some(outlet) = self.outlet.lock().take() {
            self.shared
                .arbiter(ShardId(0))
                .spawn(relay::run(self.shared.clone(), outlet));
        }
        if let Some(news) = self.news.lock().take() {
            self.shared
                .arbiter(ShardId(0))
                .spawn(user::attendance::run(self.shared.clone(), news));
        }
        self.directory.open();
    }

    /// Has questions of other nodes about sessions answered. Call it before the cluster member runs.
    pub fn serve_sessions(&self, sessions: Sessions) {
        self.shared.serve_sessions(sessions);
    }

    /// Lets the owners of users' shards say how the rates of users are divided. Call it before the cluster member runs.
    pub fn serve_rates(&self, rates: Rates) {
        self.shared.serve_rates(rates);
    }

    /// The handle by which sessions reach conversations.
    #[must_use]
    pub fn conversations(&self) -> Conversations {
        Conversations::new(self.shared.clone())
    }

    /// The handle from which each worker thread gets its hub.
    #[must_use]
    pub fn relay(&self) -> Relay {
        self.relay.clone()
    }

    /// The handle from which each worker thread gets its desk.
    #[must_use]
    pub fn attendance(&self) -> Attendance {
        self.attendance.clone()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Puts the figures into the registry.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
        self.shared.user_metrics.register(registry);
    }

    /// Stops lanes, actors and threads, and waits for them; what has no answer yet is refused. Call it when the
    /// sessions are closed, before or after the cluster member stops.
    pub async fn stop(&self) {
        for lane in self.shared.lanes() {
            lane.close(&self.shared);
        }
        // The cursors of the sessions that were just closed are on their way.
        let emptied = async {
            while self.shared.lanes().iter().any(|lane| !lane.is_idle()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, emptied).await;
        self.shared.end_all();
        self.shared.stop.cancel();
        let arbiters = std::mem::take(&mut *self.arbiters.lock());
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
