//! Task of the presence reporter: one loop per node that registers the sessions and watches of every shard, and sends
//! the heartbeats.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::NodeId;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::UserId;
use tracing::debug;

use super::shard_presence::ShardPresence;
use super::{IncomingUpdate, ReporterCommand, UpdateReceiver};
use crate::presence::Settings;
use crate::registration::RegistrationTask;
use crate::rpc::presence::{ForgottenSessions, PresenceHeartbeats};
use crate::rpc::{self, RpcError};
use crate::shard_client::ClientContext;
use crate::shard_client::wait_until;

/// Maximum number of commands processed before requests are sent.
const TURN: usize = 256;
/// Number of heartbeats within the node timeout.
const HEARTBEATS: u32 = 5;
/// Retry interval for a slow worker.
const WORKER_RETRY: Duration = Duration::from_millis(20);

/// Heartbeats that were sent, and the shards of them whose owner has lost the registration.
type HeartbeatResponse = (PresenceHeartbeats, ForgottenSessions);

/// Rate limits of this node, which the owners of users' shards divide between the nodes of a user.
pub(crate) trait RateDivision: Send + Sync {
    /// Sets the number of nodes at which the user has sessions.
    fn divide(&self, user: &UserId, nodes: u32, now: Instant);
}

/// Dependencies of the presence reporter's task.
pub(crate) struct ReporterDeps {
    pub(crate) settings: Settings,
    /// `None` on a node without rate limits.
    pub(crate) rates: Option<Arc<dyn RateDivision>>,
}

struct ReporterTask {
    node: Arc<ClientContext>,
    deps: ReporterDeps,
    registrations: RegistrationTask<ShardPresence>,
    /// Heartbeats whose responses are pending.
    heartbeats: FuturesUnordered<BoxFuture<'static, HeartbeatResponse>>,
}

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<ClientContext>, deps: ReporterDeps, mut receiver: UpdateReceiver) {
    let Some(owners) = node.owners().cloned() else {
        return;
    };
    let stop = node.stop.clone();
    let mut routes = owners.cluster().routes();
    let requests = node.user_metrics.registrations.clone();
    let (incarnation, gather) = (node.incarnation, deps.settings.gather);
    let content = || ShardPresence::new(incarnation, gather);
    let mut task = ReporterTask {
        registrations: RegistrationTask::new(owners, usize::MAX, requests, content),
        node,
        deps,
        heartbeats: FuturesUnordered::new(),
    };
    let every = (task.deps.settings.node_timeout / HEARTBEATS).max(Duration::from_millis(10));
    let mut interval = tokio::time::interval(every);
    // A delayed loop sends one heartbeat, not a burst of missed ones.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, behind) = (
            task.registrations.next_due(),
            task.registrations.workers.is_waiting(),
        );
        // All branches are cancel-safe: queues lose no item, and requests stay in their sets.
        tokio::select! {
            () = stop.cancelled() => return,
            taken = receiver.orders.recv_many(&mut orders, TURN) => {
                if taken == 0 { return }
                for order in orders.drain(..) {
                    task.ordered(order);
                }
            }
            arrival = receiver.updates.recv() => {
                let Some(arrival) = arrival else { return };
                task.arrived(arrival);
            }
            Some(response) = task.registrations.next_response() => {
                task.registrations.on_response(response);
            }
            Some(response) = task.heartbeats.next() => task.on_heartbeat(response),
            Ok(()) = routes.changed() => task.registrations.on_route_change(),
            _ = interval.tick() => task.heartbeat(),
            () = tokio::time::sleep(WORKER_RETRY), if behind => {}
            () = wait_until(due) => {}
        }
        task.registrations.send_due();
        task.send();
    }
}

// === impl ReporterTask ===

impl ReporterTask {
    fn ordered(&mut self, order: ReporterCommand) {
        match order {
            ReporterCommand::Hello { worker, events } => self.registrations.workers.add(worker, events),
            ReporterCommand::Enter { worker, session } => {
                let at = self.registrations.shard_of(session.user.as_str());
                self.registrations.shards[at].content.enter(worker, session);
            }
            ReporterCommand::Leave { user, tag } => {
                let at = self.registrations.shard_of(user.as_str());
                self.registrations.shards[at].content.leave(user, tag);
            }
            ReporterCommand::Watch { worker, user, viewer } => {
                let at = self.registrations.shard_of(user.as_str());
                let RegistrationTask { shards, workers, .. } = &mut self.registrations;
                shards[at].content.watch(worker, &user, &viewer, workers);
            }
            ReporterCommand::Unwatch { worker, user, viewer } => {
                self.registrations
                    .content_of(user.as_str())
                    .unwatch(worker, &user, &viewer);
            }
        }
    }

    fn arrived(&mut self, arrival: IncomingUpdate) {
        let IncomingUpdate { from, updates, reply } = arrival;
        let RegistrationTask { shards, workers, .. } = &mut self.registrations;
        match shards.get_mut(usize::from(updates.shard)) {
            Some(shard) => {
                shard.on_updates(updates, workers);
                // Acknowledged after the updates are applied: the owner sends the next message only then, which keeps
                // their order.
                reply.send(Ok(rpc::encode(&())));
            }
            None => {
                debug!(%from, shard = updates.shard, "presence updates of an unknown shard");
                reply.send(Err(rpc::encode(&RpcError::Bad("unknown shard".to_owned()))));
            }
        }
    }

    /// Registers again where an owner has lost the registration.
    fn on_heartbeat(&mut self, (sent, forgotten): HeartbeatResponse) {
        let now = Instant::now();
        for shard in forgotten {
            let at = usize::from(shard);
            let known = sent.iter().find(|(sent, ..)| *sent == shard);
            // The registration may have been replaced while the heartbeat was in flight.
            let current = self
                .registrations
                .shards
                .get(at)
                .and_then(|shard| shard.heartbeat());
            if current.is_some() && current.as_ref() == known {
                debug!(
                    shard,
                    "shard owner does not have the registration, registering again"
                );
                self.registrations.mark_stale(at, now);
            }
        }
    }

    /// Sends a heartbeat to every owner with a confirmed registration, and updates the gauges.
    fn heartbeat(&mut self) {
        let mut owners: HashMap<NodeId, PresenceHeartbeats> = HashMap::new();
        let (mut sessions, mut watched) = (0, 0);
        let cluster = self.registrations.cluster();
        for shard in &self.registrations.shards {
            let size = shard.content.size();
            (sessions, watched) = (sessions + size.0, watched + size.1);
            let route = cluster.route(shard.shard());
            if let (Some(owner), Some(heartbeat)) = (route.owner, shard.heartbeat()) {
                owners.entry(owner).or_default().push(heartbeat);
            }
        }
        let metrics = &self.node.user_metrics;
        metrics.sessions.set(sessions as i64);
        metrics.watched.set(watched as i64);
        for (owner, heartbeats) in owners {
            let body: Bytes = rpc::encode(&heartbeats);
            // A heartbeat slower than the timeout is worthless, so the call ends with it.
            let timeout = self.deps.settings.node_timeout;
            let call = cluster.call(owner, rpc::PRESENCE_HEARTBEAT, body, timeout);
            self.heartbeats.push(Box::pin(async move {
                let answer = call.await.ok().and_then(|body| rpc::decode(&body).ok());
                (heartbeats, answer.unwrap_or_default())
            }));
        }
    }

    /// Sends the gathered events to the workers, and removes the workers that have ended.
    fn send(&mut self) {
        self.divide();
        self.registrations.flush_workers();
        let behind = std::mem::take(&mut self.registrations.workers.overflows);
        self.node.user_metrics.worker_behind.inc_by(behind);
    }

    /// Divides the rates of users among the nodes reported by the owners.
    fn divide(&mut self) {
        let now = Instant::now();
        for shard in &mut self.registrations.shards {
            for (user, nodes) in shard.content.take_divided() {
                if let Some(rates) = &self.deps.rates {
                    rates.divide(&user, nodes, now);
                }
            }
        }
    }
}
