//! The relay's task: one loop per node that owns every shard's [state](super::shard) and carries out what it asks for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, ShardId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::{ConvId, UserId};
use tokio::time::sleep_until;
use tracing::debug;

use super::notice::{Control, Notice, WorkerId};
use super::shard::{Admit, Hole, Question, ShardRelay};
use super::workers::Workers;
use super::{Arrival, Delivered, Delivery, Node, Outlet};
use crate::conversation::Refusal;
use crate::conversation::route::ask;
use crate::conversation::timeline::Published;
use crate::rpc::deliver::{To, What};
use crate::rpc::read::{Range, Ranged};
use crate::rpc::register::Registered;
use crate::rpc::{self, Refused};

/// Arrivals taken in before what they caused is sent on.
const TURN: usize = 64;
/// Ranges read at the same time.
const PULLS: usize = 16;
/// How often silence, waiting users and slow workers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Pause before a range is asked for again.
const PULL_RETRY: Duration = Duration::from_millis(200);

/// What came back from another node.
enum Landed {
    /// The answer to a question of a shard, of a registration.
    Answer {
        shard: usize,
        id: u64,
        result: Result<Option<Registered>, Failed>,
    },
    /// A range.
    Range {
        pull: Pull,
        result: Result<Ranged, Refusal>,
    },
}

/// Why a question has no answer.
#[derive(Debug)]
enum Failed {
    /// The owner refused.
    Refused(Refused),
    /// It wasn't reached, or no answer came.
    Lost,
}

/// A range to be read.
#[derive(Clone, Debug)]
struct Pull {
    shard: usize,
    conv: ConvId,
    after: u64,
    /// For one worker that was behind, or for all.
    worker: Option<WorkerId>,
}

struct Task {
    node: Node,
    cluster: Cluster,
    shards: Vec<ShardRelay>,
    workers: Workers,
    under_way: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Questions under way.
    questions: usize,
    /// Ranges under way.
    ranges: usize,
    pulls: VecDeque<Pull>,
    later: VecDeque<(Instant, Pull)>,
    holes: Vec<Hole>,
}

/// Runs until the node stops.
pub(crate) async fn run(node: Node, mut outlet: Outlet) {
    let Some(cluster) = node.cluster().cloned() else {
        return;
    };
    let stop = node.stop.clone();
    let now = Instant::now();
    let shards = (0..cluster.shard_count())
        .map(|shard| ShardRelay::new(shard, rand::random(), now))
        .collect();
    let mut task = Task {
        node,
        cluster,
        shards,
        workers: Workers::default(),
        under_way: FuturesUnordered::new(),
        questions: 0,
        ranges: 0,
        pulls: VecDeque::new(),
        later: VecDeque::new(),
        holes: Vec::new(),
    };
    let mut routes = task.cluster.routes();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut arrivals = Vec::with_capacity(TURN);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, ticks) = (task.next_due(), task.workers.any());
        tokio::select! {
            () = stop.cancelled() => return,
            taken = outlet.arrivals.recv_many(&mut arrivals, TURN) => {
                if taken == 0 { return }
                for arrival in arrivals.drain(..) {
                    task.arrived(arrival);
                }
            }
            taken = outlet.control.recv_many(&mut orders, TURN) => {
                if taken == 0 { return }
                for order in orders.drain(..) {
                    task.ordered(order);
                }
            }
            Some(landed) = task.under_way.next() => task.landed(landed),
            Ok(()) = routes.changed() => task.rerouted(),
            _ = tick.tick(), if ticks => task.ticked(),
            () = wait_until(due) => {}
        }
        task.ask();
        task.pull();
        task.send();
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

// === impl Task ===

impl Task {
    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        match arrival {
            Arrival::Frame(frame) => {
                let read = rpc::deliver::decode(&frame, |to, what| {
                    if let Some(what) = owned(what) {
                        self.deliver(Delivery { to, what }, now);
                    }
                });
                if let Err(error) = read {
                    debug!(%error, "frame of deliveries can't be read");
                }
            }
            Arrival::Here(deliveries) => {
                for delivery in deliveries {
                    self.deliver(delivery, now);
                }
            }
            Arrival::Positions(positions) => {
                for to in positions {
                    self.position(&to, now);
                }
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery, now: Instant) {
        let at = usize::from(delivery.to.shard);
        let Some(shard) = self.shards.get_mut(at) else {
            return;
        };
        if !shard.deliver(delivery, now, &mut self.workers, &mut self.holes) {
            self.gap(at, now);
        }
        self.take_holes(at);
    }

    fn position(&mut self, to: &To, now: Instant) {
        let at = usize::from(to.shard);
        if self
            .shards
            .get_mut(at)
            .is_some_and(|shard| !shard.position(to, now))
        {
            self.gap(at, now);
        }
    }

    fn gap(&mut self, shard: usize, now: Instant) {
        debug!(shard, "a delivery is missing, registering anew");
        self.node.metrics.relay_gaps.inc();
        self.shards[shard].doubt(rand::random(), now, Duration::ZERO);
    }

    fn ordered(&mut self, order: Control) {
        match order {
            Control::Hello { worker, notices } => self.workers.add(worker, notices),
            Control::Subscribe {
                worker,
                conv,
                user,
                ticket,
            } => {
                let shard = self.shard_of(conv.as_str());
                let shard = &mut self.shards[shard];
                shard.subscribe(worker, &conv, &mut self.workers);
                shard.admit(Admit {
                    conv,
                    user,
                    worker,
                    ticket,
                    since: Instant::now(),
                });
            }
            Control::Unsubscribe { worker, conv } => {
                let shard = self.shard_of(conv.as_str());
                self.shards[shard].unsubscribe(worker, &conv);
            }
            Control::Pull { worker, conv, after } => {
                let shard = self.shard_of(conv.as_str());
                if self.shards[shard].last(&conv).is_some_and(|last| last <= after) {
                    // Nothing was missed so far.
                    self.workers.tell(
                        worker,
                        Notice::Pulled {
                            conv,
                            events: Vec::new(),
                            last: after,
                        },
                    );
                } else {
                    self.pulls.push_back(Pull {
                        shard,
                        conv,
                        after,
                        worker: Some(worker),
                    });
                }
            }
            Control::Attach { worker, user } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].attach(worker, &user);
            }
            Control::Detach { worker, user } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].detach(worker, &user);
            }
        }
    }

    fn landed(&mut self, landed: Landed) {
        let now = Instant::now();
        match landed {
            Landed::Answer { shard, id, result } => {
                self.questions -= 1;
                match result {
                    Ok(answer) => {
                        self.shards[shard].answered(id, answer, now, &mut self.workers, &mut self.holes);
                        self.take_holes(shard);
                    }
                    Err(Failed::Refused(Refused::Unregistered)) => {
                        self.shards[shard].failed(id, rand::random(), now, |_| Duration::ZERO);
                        self.gap(shard, now);
                    }
                    Err(failed) => {
                        debug!(shard, ?failed, "registration not answered");
                        if let Failed::Refused(Refused::NotOwner {
                            owner: Some(owner),
                            epoch,
                        }) = failed
                        {
                            self.cluster.hint(ShardId(shard_id(shard)), NodeId(owner), epoch);
                        }
                        self.shards[shard].failed(id, rand::random(), now, backoff);
                    }
                }
            }
            Landed::Range { pull, result } => {
                self.ranges -= 1;
                match (pull.worker, result) {
                    (Some(worker), Ok(range)) => {
                        let events = (pull.after + 1..).zip(range.tails);
                        let events = events
                            .map(|(seq, tail)| Published::replay(pull.conv.clone(), seq, tail).into())
                            .collect();
                        let notice = Notice::Pulled {
                            conv: pull.conv,
                            events,
                            last: range.last,
                        };
                        self.workers.tell(worker, notice);
                    }
                    (None, Ok(range)) => {
                        let range = Some((pull.after, range.last, range.tails));
                        let hole = self.shards[pull.shard].pulled(&pull.conv, range, &mut self.workers);
                        self.holes.extend(hole);
                        self.take_holes(pull.shard);
                    }
                    (_, Err(refusal)) => {
                        debug!(conv = %pull.conv, %refusal, "range not read, trying again");
                        self.later.push_back((now + PULL_RETRY, pull));
                    }
                }
            }
        }
    }

    fn rerouted(&mut self) {
        let now = Instant::now();
        for at in 0..self.shards.len() {
            let route = self.cluster.route(ShardId(shard_id(at)));
            if route.owner.is_some() && self.shards[at].moved(route.epoch) {
                let most = self.node.settings.registration_jitter;
                let wait = most.mul_f64(rand::random_range(0.0..1.0));
                self.shards[at].doubt(rand::random(), now, wait);
            }
        }
    }

    fn ticked(&mut self) {
        let now = Instant::now();
        for at in 0..self.shards.len() {
            let shard = &mut self.shards[at];
            shard.give_up(now, &mut self.workers);
            if shard.silent(now, self.node.settings.silence) {
                self.gap(at, now);
            }
        }
        while let Some((_, pull)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.pulls.push_back(pull);
        }
    }

    /// When a question is due that waits for its time.
    fn next_due(&self) -> Option<Instant> {
        if self.questions >= self.node.settings.registrations {
            return None;
        }
        self.shards.iter().filter_map(ShardRelay::due).min()
    }

    /// Sends the questions that are due, a few at a time.
    fn ask(&mut self) {
        let now = Instant::now();
        for at in 0..self.shards.len() {
            if self.questions >= self.node.settings.registrations {
                return;
            }
            if self.shards[at].due().is_none_or(|due| due > now) {
                continue;
            }
            let route = self.cluster.route(ShardId(shard_id(at)));
            let shard = &mut self.shards[at];
            let Some(owner) = route.owner else {
                shard.postpone(now + Duration::from_millis(100));
                continue;
            };
            let (id, question) = shard.ask(route.epoch);
            let (method, body) = match &question {
                Question::Register(register) => (rpc::REGISTER, rpc::encode(register)),
                Question::Unregister(unregister) => (rpc::UNREGISTER, rpc::encode(unregister)),
            };
            self.node.metrics.registrations.inc();
            self.questions += 1;
            let call = self
                .cluster
                .call(owner, method, body, self.node.settings.call_deadline);
            self.under_way.push(Box::pin(async move {
                let result = match call.await {
                    Ok(body) => understood(method, &body),
                    Err(CallError::Refused(body)) => {
                        Err(rpc::decode(&body).map_or(Failed::Lost, Failed::Refused))
                    }
                    Err(CallError::Unreachable | CallError::Lost | CallError::Busy) => Err(Failed::Lost),
                };
                Landed::Answer {
                    shard: at,
                    id,
                    result,
                }
            }));
        }
    }

    /// Reads the ranges that are missing, a few at a time.
    fn pull(&mut self) {
        while self.ranges < PULLS
            && let Some(pull) = self.pulls.pop_front()
        {
            self.node.metrics.relay_pulls.inc();
            self.ranges += 1;
            let node = self.node.clone();
            self.under_way.push(Box::pin(async move {
                let range = Range {
                    conv: pull.conv.clone(),
                    after: pull.after,
                };
                let result = ask(&node, ShardId(shard_id(pull.shard)), rpc::RANGE, &range).await;
                Landed::Range { pull, result }
            }));
        }
    }

    /// Hands every worker what gathered.
    fn send(&mut self) {
        for worker in self.workers.flush() {
            for shard in &mut self.shards {
                shard.forget(worker);
            }
        }
        self.node
            .metrics
            .relay_events
            .inc_by(std::mem::take(&mut self.workers.events));
        self.node
            .metrics
            .worker_overflows
            .inc_by(std::mem::take(&mut self.workers.overflows));
    }

    fn take_holes(&mut self, shard: usize) {
        for (conv, after) in self.holes.drain(..) {
            self.pulls.push_back(Pull {
                shard,
                conv,
                after,
                worker: None,
            });
        }
    }

    fn shard_of(&self, key: &str) -> usize {
        usize::from(self.cluster.shard_of(key.as_bytes()).0)
    }
}

fn understood(method: u16, body: &Bytes) -> Result<Option<Registered>, Failed> {
    if method == rpc::UNREGISTER {
        return Ok(None);
    }
    rpc::decode(body).map(Some).map_err(|_| Failed::Lost)
}

/// What a record says, in memory of its own: the frame is not kept alive by one of its events.
fn owned(what: What<'_>) -> Option<Delivered> {
    let user = |text: Option<&str>| text.and_then(|text| UserId::parse(text).ok());
    Some(match what {
        What::Event {
            conv,
            seq,
            skip,
            removes,
            adds,
            tail,
        } => Delivered::Event(
            Published {
                conv: ConvId::parse(conv).ok()?,
                seq,
                tail: Bytes::copy_from_slice(tail),
                removes: user(removes),
                adds: user(adds),
                skip,
            }
            .into(),
        ),
        What::Joined { user, conv } => Delivered::Joined {
            user: UserId::parse(user).ok()?,
            conv: ConvId::parse(conv).ok()?,
        },
    })
}

fn backoff(failures: u32) -> Duration {
    Duration::from_millis(rand::random_range(10..=(20u64 << failures.min(5)).clamp(20, 400)))
}

fn shard_id(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
