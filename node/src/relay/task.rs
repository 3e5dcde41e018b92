//! The relay's task: one loop per node that owns every shard's [state](super::shard) and carries out what it asks for.

mod questions;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Cluster;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::{ConvId, UserId};
use tracing::debug;

use self::questions::Landed;
use super::notice::{Control, Notice, WorkerId};
use super::shard::{Admit, Hole, ShardRelay};
use super::workers::Workers;
use super::{Arrival, Delivered, Delivery, Node, Outlet};
use crate::conversation::timeline::{Moved, Published};
use crate::rpc;
use crate::rpc::deliver::{To, What};
use crate::rpc::owner::wait_until;

/// Arrivals taken in before what they caused is sent on.
const TURN: usize = 64;
/// How often silence, waiting users and slow workers are looked at.
const TICK: Duration = Duration::from_millis(100);

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
            only,
            tail,
        } => Delivered::Event(
            Published {
                conv: ConvId::parse(conv).ok()?,
                seq,
                tail: Bytes::copy_from_slice(tail),
                removes: user(removes),
                adds: user(adds),
                skip,
                only: user(only),
            }
            .into(),
        ),
        What::Joined { user, conv } => Delivered::Joined {
            user: UserId::parse(user).ok()?,
            conv: ConvId::parse(conv).ok()?,
        },
        What::Active { user, conv, last } => Delivered::Active(Moved {
            user: UserId::parse(user).ok()?,
            conv: ConvId::parse(conv).ok()?,
            last,
        }),
    })
}
