//! The attendance's task: one loop per node that owns every shard's [state](super::shard) and carries out what it asks
//! for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Cluster, NodeId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::debug;

use super::shard::Attending;
use super::workers::Workers;
use super::{Arrival, Order, Outlet};
use crate::conversation::shared::Shared;
use crate::rpc::owner::{Failed, answer, backoff, read, shard_at, wait_until};
use crate::rpc::presence::{Attended, Beats, Forgotten};
use crate::rpc::{self, Refused};

/// Orders taken in before what they caused is sent on.
const TURN: usize = 256;
/// Signs of life within the time that counts as silence.
const BEATS: u32 = 5;
/// How often a slow worker is tried again.
const WORKER_RETRY: Duration = Duration::from_millis(20);
/// Pause when nobody owns a shard.
const NO_OWNER: Duration = Duration::from_millis(50);

/// What came back from an owner.
enum Landed {
    Answer {
        shard: usize,
        id: u64,
        result: Result<Attended, Failed>,
    },
    /// Shards that the owner has forgotten this node in, with the registrations that it was asked about.
    Beat(Beats, Forgotten),
}

struct Task {
    node: Arc<Shared>,
    cluster: Cluster,
    shards: Vec<Attending>,
    workers: Workers,
    under_way: FuturesUnordered<BoxFuture<'static, Landed>>,
}

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Shared>, mut outlet: Outlet) {
    let Some(cluster) = node.cluster().cloned() else {
        return;
    };
    let stop = node.stop.clone();
    let incarnation = node.incarnation;
    let shards = (0..cluster.shard_count()).map(|shard| Attending::new(shard, incarnation, rand::random()));
    let mut task = Task {
        shards: shards.collect(),
        node,
        cluster,
        workers: Workers::default(),
        under_way: FuturesUnordered::new(),
    };
    let mut routes = task.cluster.routes();
    let every = (task.node.settings.users.silence / BEATS).max(Duration::from_millis(10));
    let mut beat = tokio::time::interval(every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, behind) = (task.next_due(), task.workers.waiting());
        tokio::select! {
            () = stop.cancelled() => return,
            taken = outlet.orders.recv_many(&mut orders, TURN) => {
                if taken == 0 { return }
                for order in orders.drain(..) {
                    task.ordered(order);
                }
            }
            arrival = outlet.news.recv() => {
                let Some(arrival) = arrival else { return };
                task.arrived(arrival);
            }
            Some(landed) = task.under_way.next() => task.landed(landed),
            Ok(()) = routes.changed() => task.rerouted(),
            _ = beat.tick() => task.beat(),
            () = tokio::time::sleep(WORKER_RETRY), if behind => {}
            () = wait_until(due) => {}
        }
        task.ask();
        task.send();
    }
}

// === impl Task ===

impl Task {
    fn ordered(&mut self, order: Order) {
        match order {
            Order::Hello { worker, notices } => self.workers.add(worker, notices),
            Order::Enter { worker, seat } => {
                let shard = self.shard_of(seat.user.as_str());
                self.shards[shard].enter(worker, seat);
            }
            Order::Leave { user, tag } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].leave(user, tag);
            }
            Order::Watch { worker, user, viewer } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].watch(worker, &user, &viewer, &mut self.workers);
            }
            Order::Unwatch { worker, user, viewer } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].unwatch(worker, &user, &viewer);
            }
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let Arrival { from, news, reply } = arrival;
        match self.shards.get_mut(usize::from(news.shard)) {
            Some(shard) => {
                shard.news(news, &mut self.workers);
                reply.send(Ok(rpc::encode(&())));
            }
            None => {
                debug!(%from, shard = news.shard, "news of an unknown shard");
                reply.send(Err(rpc::encode(&Refused::Bad("unknown shard".to_owned()))));
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.shards.iter().filter_map(|shard| shard.due(now)).min()
    }

    /// Sends the requests that are due.
    fn ask(&mut self) {
        let now = Instant::now();
        let settings = &self.node.settings;
        for (at, shard) in self.shards.iter_mut().enumerate() {
            if shard.due(now).is_none_or(|due| due > now) {
                continue;
            }
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
                .call(owner, rpc::ATTEND, body, settings.call_deadline);
            self.under_way.push(Box::pin(async move {
                let result = answer(call).await.and_then(|body| read(&body));
                Landed::Answer {
                    shard: at,
                    id,
                    result,
                }
            }));
        }
    }

    fn landed(&mut self, landed: Landed) {
        let now = Instant::now();
        match landed {
            Landed::Answer { shard, id, result } => match result {
                Ok(answer) => self.shards[shard].answered(id, answer, &mut self.workers),
                Err(Failed::Refused(Refused::Unregistered)) => {
                    self.shards[shard].doubt(rand::random(), now, Duration::ZERO);
                }
                Err(failed) => {
                    debug!(shard, ?failed, "attendance not taken");
                    failed.hint(&self.cluster, shard_at(shard));
                    self.shards[shard].failed(id, rand::random(), now, backoff);
                }
            },
            Landed::Beat(asked, forgotten) => {
                for shard in forgotten {
                    let known = asked.iter().find(|(at, ..)| *at == shard);
                    let attending = self.shards.get_mut(usize::from(shard));
                    if let (Some(known), Some(attending)) = (known, attending)
                        && attending.beat() == Some(*known)
                    {
                        debug!(shard, "forgotten by the owner, registering anew");
                        attending.doubt(rand::random(), now, Duration::ZERO);
                    }
                }
            }
        }
    }

    /// Gives every owner that knows this node a sign of life.
    fn beat(&mut self) {
        let mut owners: HashMap<NodeId, Beats> = HashMap::new();
        let (mut seats, mut watched) = (0, 0);
        for (at, shard) in self.shards.iter().enumerate() {
            let size = shard.size();
            (seats, watched) = (seats + size.0, watched + size.1);
            let route = self.cluster.route(shard_at(at));
            if let (Some(owner), Some(beat)) = (route.owner, shard.beat()) {
                owners.entry(owner).or_default().push(beat);
            }
        }
        let metrics = &self.node.user_metrics;
        metrics.seats.set(seats as i64);
        metrics.watched.set(watched as i64);
        for (owner, beats) in owners {
            let body: Bytes = rpc::encode(&beats);
            let call = self
                .cluster
                .call(owner, rpc::BEAT, body, self.node.settings.users.silence);
            self.under_way.push(Box::pin(async move {
                let answer = call.await.ok().and_then(|body| rpc::decode(&body).ok());
                Landed::Beat(beats, answer.unwrap_or_default())
            }));
        }
    }

    /// Where the owner is another, it is told everything.
    fn rerouted(&mut self) {
        let now = Instant::now();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let route = self.cluster.route(shard_at(at));
            if route.owner.is_some() && shard.moved(route.epoch) {
                let most = self.node.settings.registration_jitter;
                shard.doubt(rand::random(), now, most.mul_f64(rand::random_range(0.0..1.0)));
            }
        }
    }

    /// Hands every worker what gathered.
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

    /// Has the rates of users divided as the owners say.
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
