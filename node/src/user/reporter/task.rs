//! Task of the presence reporter: one loop per node that holds every shard's [registration](super::shard) and sends its
//! requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Cluster, NodeId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::debug;

use super::shard::ShardPresence;
use super::workers::PresenceWorkers;
use super::{IncomingUpdate, ReporterCommand, UpdateReceiver};
use crate::conversation::shared::ServiceShared;
use crate::rpc::owner::{OwnerCallError, answer, backoff, read, shard_at, wait_until};
use crate::rpc::presence::{ForgottenSessions, PresenceHeartbeats, PresenceRegistered};
use crate::rpc::{self, RpcError};

/// Maximum number of commands processed before requests are sent.
const TURN: usize = 256;
/// Number of heartbeats within the node timeout.
const HEARTBEATS: u32 = 5;
/// Retry interval for a slow worker.
const WORKER_RETRY: Duration = Duration::from_millis(20);
/// Pause while a shard has no owner.
const NO_OWNER: Duration = Duration::from_millis(50);

/// Completed request to an owner.
enum ReporterResponse {
    Answer {
        shard: usize,
        id: u64,
        result: Result<PresenceRegistered, OwnerCallError>,
    },
    /// Heartbeats that were sent, and the shards of them whose owner has lost the registration.
    Heartbeat(PresenceHeartbeats, ForgottenSessions),
}

struct ReporterTask {
    node: Arc<ServiceShared>,
    cluster: Cluster,
    shards: Vec<ShardPresence>,
    workers: PresenceWorkers,
    under_way: FuturesUnordered<BoxFuture<'static, ReporterResponse>>,
}

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<ServiceShared>, mut receiver: UpdateReceiver) {
    let Some(cluster) = node.cluster().cloned() else {
        return;
    };
    let stop = node.stop.clone();
    let incarnation = node.incarnation;
    let shards =
        (0..cluster.shard_count()).map(|shard| ShardPresence::new(shard, incarnation, rand::random()));
    let mut task = ReporterTask {
        shards: shards.collect(),
        node,
        cluster,
        workers: PresenceWorkers::default(),
        under_way: FuturesUnordered::new(),
    };
    let mut routes = task.cluster.routes();
    let every = (task.node.settings.users.node_timeout / HEARTBEATS).max(Duration::from_millis(10));
    let mut interval = tokio::time::interval(every);
    // A delayed loop sends one heartbeat, not a burst of missed ones.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, behind) = (task.next_due(), task.workers.waiting());
        // All branches are cancel-safe: queues lose no item, and requests stay in `under_way`.
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
            Some(response) = task.under_way.next() => task.on_response(response),
            Ok(()) = routes.changed() => task.rerouted(),
            _ = interval.tick() => task.heartbeat(),
            () = tokio::time::sleep(WORKER_RETRY), if behind => {}
            () = wait_until(due) => {}
        }
        task.ask();
        task.send();
    }
}

// === impl ReporterTask ===

impl ReporterTask {
    fn ordered(&mut self, order: ReporterCommand) {
        match order {
            ReporterCommand::Hello { worker, events } => self.workers.add(worker, events),
            ReporterCommand::Enter { worker, session } => {
                let shard = self.shard_of(session.user.as_str());
                self.shards[shard].enter(worker, session);
            }
            ReporterCommand::Leave { user, tag } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].leave(user, tag);
            }
            ReporterCommand::Watch { worker, user, viewer } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].watch(worker, &user, &viewer, &mut self.workers);
            }
            ReporterCommand::Unwatch { worker, user, viewer } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].unwatch(worker, &user, &viewer);
            }
        }
    }

    fn arrived(&mut self, arrival: IncomingUpdate) {
        let IncomingUpdate { from, updates, reply } = arrival;
        match self.shards.get_mut(usize::from(updates.shard)) {
            Some(shard) => {
                shard.on_updates(updates, &mut self.workers);
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

    fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.shards.iter().filter_map(|shard| shard.due(now)).min()
    }

    /// Sends the requests whose time has come.
    fn ask(&mut self) {
        let now = Instant::now();
        let settings = &self.node.settings;
        for (at, shard) in self.shards.iter_mut().enumerate() {
            if shard.due(now).is_none_or(|due| due > now) {
                continue;
            }
            // The route is read now, not when the change was queued: the owner may be another one since.
            let route = self.cluster.route(shard_at(at));
            let Some(owner) = route.owner else {
                shard.postpone(now + NO_OWNER);
                continue;
            };
            let (id, question) = shard.ask(route.epoch, now, settings.users.gather);
            self.node.user_metrics.registrations.inc();
            let body = rpc::encode(&question);
            let call = self
                .cluster
                .call(owner, rpc::REGISTER_PRESENCE, body, settings.call_deadline);
            self.under_way.push(Box::pin(async move {
                let result = answer(call).await.and_then(|body| read(&body));
                ReporterResponse::Answer {
                    shard: at,
                    id,
                    result,
                }
            }));
        }
    }

    fn on_response(&mut self, response: ReporterResponse) {
        let now = Instant::now();
        match response {
            ReporterResponse::Answer { shard, id, result } => match result {
                Ok(answer) => self.shards[shard].answered(id, answer, &mut self.workers),
                Err(OwnerCallError::Refused(RpcError::Unregistered)) => {
                    // The owner is alive but has lost the registration, so the full one is sent without a pause.
                    self.shards[shard].mark_stale(rand::random(), now, Duration::ZERO);
                }
                Err(failed) => {
                    debug!(shard, ?failed, "presence registration failed, will retry");
                    // The refusal may name the new owner; without the hint the retry would go to the old one.
                    failed.hint(&self.cluster, shard_at(shard));
                    self.shards[shard].failed(id, rand::random(), now, backoff);
                }
            },
            ReporterResponse::Heartbeat(asked, forgotten) => {
                for shard in forgotten {
                    let known = asked.iter().find(|(at, ..)| *at == shard);
                    let attending = self.shards.get_mut(usize::from(shard));
                    if let (Some(known), Some(attending)) = (known, attending)
                        // The registration may have been replaced while the heartbeat was in flight.
                        && attending.heartbeat() == Some(*known)
                    {
                        debug!(
                            shard,
                            "shard owner does not have the registration, registering again"
                        );
                        attending.mark_stale(rand::random(), now, Duration::ZERO);
                    }
                }
            }
        }
    }

    /// Sends a heartbeat to every owner with a confirmed registration, and updates the gauges.
    fn heartbeat(&mut self) {
        let mut owners: HashMap<NodeId, PresenceHeartbeats> = HashMap::new();
        let (mut sessions, mut watched) = (0, 0);
        for (at, shard) in self.shards.iter().enumerate() {
            let size = shard.size();
            (sessions, watched) = (sessions + size.0, watched + size.1);
            let route = self.cluster.route(shard_at(at));
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
            let call = self.cluster.call(
                owner,
                rpc::PRESENCE_HEARTBEAT,
                body,
                self.node.settings.users.node_timeout,
            );
            self.under_way.push(Box::pin(async move {
                let answer = call.await.ok().and_then(|body| rpc::decode(&body).ok());
                ReporterResponse::Heartbeat(heartbeats, answer.unwrap_or_default())
            }));
        }
    }

    /// Sends the full registration where a shard has a new owner.
    fn rerouted(&mut self) {
        let now = Instant::now();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let route = self.cluster.route(shard_at(at));
            if route.owner.is_some() && shard.moved(route.epoch) {
                // Spread by a random delay: otherwise all nodes would register with the new owner at once.
                let most = self.node.settings.registration_jitter;
                shard.mark_stale(rand::random(), now, most.mul_f64(rand::random_range(0.0..1.0)));
            }
        }
    }

    /// Sends the gathered events to the workers, and removes the workers that have ended.
    fn send(&mut self) {
        self.divide();
        for worker in self.workers.flush() {
            for shard in &mut self.shards {
                shard.forget(worker);
            }
        }
        let behind = std::mem::take(&mut self.workers.behind);
        self.node.user_metrics.worker_behind.inc_by(behind);
    }

    /// Divides the rates of users among the nodes reported by the owners.
    fn divide(&mut self) {
        let now = Instant::now();
        for shard in &mut self.shards {
            for (user, nodes) in shard.take_divided() {
                if let Some(rates) = self.node.rates() {
                    rates.divide(&user, nodes, now);
                }
            }
        }
    }

    fn shard_of(&self, user: &str) -> usize {
        usize::from(self.cluster.shard_of(user.as_bytes()).0)
    }
}
