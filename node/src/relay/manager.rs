//! Manager task: one loop per node that owns the state of every shard and executes its requests.
//!
//! Every missing delivery is made good by a new registration or by a range read from the log; see docs/delivery.md,
//! "The way to the receivers".

mod questions;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Cluster;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::{ConversationId, UserId};
use tracing::debug;

use self::questions::ResponseEvent;
use super::hub_event::{HubCommand, HubEvent, WorkerId};
use super::shard_interest::{MembershipCheck, MissingRange, ShardInterest};
use super::workers::HubWorkers;
use super::{Delivered, DeliveryReceiver, IncomingDelivery, Node, OwnerDelivery};
use crate::conversation::state_machine::{EventEnvelope, MovedMember};
use crate::rpc;
use crate::rpc::deliver::{DeliveryPayload, DeliveryTarget};
use crate::rpc::owner::wait_until;

/// Maximum number of inputs processed before their results are sent.
const TURN: usize = 64;
/// Interval of the checks for silent owners, expired admissions and slow workers.
const TICK: Duration = Duration::from_millis(100);

/// Range of events to be read.
#[derive(Clone, Debug)]
struct Pull {
    shard: usize,
    conv: ConversationId,
    after: u64,
    /// Worker that missed the range; `None`: the manager missed it, for all workers.
    worker: Option<WorkerId>,
}

struct ManagerTask {
    node: Node,
    cluster: Cluster,
    shards: Vec<ShardInterest>,
    workers: HubWorkers,
    under_way: FuturesUnordered<BoxFuture<'static, ResponseEvent>>,
    questions: usize,
    ranges: usize,
    pulls: VecDeque<Pull>,
    later: VecDeque<(Instant, Pull)>,
    holes: Vec<MissingRange>,
}

/// Runs the manager until the node stops.
pub(crate) async fn run(node: Node, mut receiver: DeliveryReceiver) {
    let Some(cluster) = node.cluster().cloned() else {
        return;
    };
    let stop = node.stop.clone();
    let now = Instant::now();
    let shards = (0..cluster.shard_count())
        .map(|shard| ShardInterest::new(shard, rand::random(), now))
        .collect();
    let mut task = ManagerTask {
        node,
        cluster,
        shards,
        workers: HubWorkers::default(),
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
    let mut deliveries = Vec::with_capacity(TURN);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, ticks) = (task.next_due(), task.workers.any());
        tokio::select! {
            () = stop.cancelled() => return,
            taken = receiver.deliveries.recv_many(&mut deliveries, TURN) => {
                if taken == 0 { return }
                for arrival in deliveries.drain(..) {
                    task.arrived(arrival);
                }
            }
            taken = receiver.control.recv_many(&mut orders, TURN) => {
                if taken == 0 { return }
                for order in orders.drain(..) {
                    task.ordered(order);
                }
            }
            Some(response) = task.under_way.next() => task.on_response(response),
            Ok(()) = routes.changed() => task.rerouted(),
            _ = tick.tick(), if ticks => task.ticked(),
            () = wait_until(due) => {}
        }
        // After every input: what it caused must not wait for the next one.
        task.ask();
        task.pull();
        task.send();
    }
}

// === impl ManagerTask ===

impl ManagerTask {
    fn arrived(&mut self, arrival: IncomingDelivery) {
        let now = Instant::now();
        match arrival {
            IncomingDelivery::Frame(frame) => {
                let read = rpc::deliver::decode(&frame, |to, what| {
                    if let Some(what) = owned(what) {
                        self.deliver(OwnerDelivery { to, what }, now);
                    }
                });
                // The rest of the frame is lost, which shows as a gap in the delivery seq.
                if let Err(error) = read {
                    debug!(%error, "malformed delivery frame");
                }
            }
            IncomingDelivery::Here(deliveries) => {
                for delivery in deliveries {
                    self.deliver(delivery, now);
                }
            }
            IncomingDelivery::Positions(positions) => {
                for to in positions {
                    self.position(&to, now);
                }
            }
        }
    }

    fn deliver(&mut self, delivery: OwnerDelivery, now: Instant) {
        let at = usize::from(delivery.to.shard);
        let Some(shard) = self.shards.get_mut(at) else {
            return;
        };
        if !shard.deliver(delivery, now, &mut self.workers, &mut self.holes) {
            self.gap(at, now);
        }
        self.take_holes(at);
    }

    fn position(&mut self, to: &DeliveryTarget, now: Instant) {
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
        debug!(shard, "delivery gap, registering again");
        self.node.metrics.relay_gaps.inc();
        // No delay: nothing is wrong with the owner, and events are late until the response.
        self.shards[shard].mark_stale(rand::random(), now, Duration::ZERO);
    }

    fn ordered(&mut self, order: HubCommand) {
        match order {
            HubCommand::Hello { worker, events } => self.workers.add(worker, events),
            HubCommand::Subscribe {
                worker,
                conv,
                user,
                ticket,
            } => {
                let shard = self.shard_of(conv.as_str());
                let shard = &mut self.shards[shard];
                // The interest first: the admission is requested with or after its conversation.
                shard.subscribe(worker, &conv, &mut self.workers);
                shard.admit(MembershipCheck {
                    conv,
                    user,
                    worker,
                    ticket,
                    since: Instant::now(),
                });
            }
            HubCommand::Unsubscribe { worker, conv } => {
                let shard = self.shard_of(conv.as_str());
                self.shards[shard].unsubscribe(worker, &conv);
            }
            HubCommand::Pull { worker, conv, after } => {
                let shard = self.shard_of(conv.as_str());
                if self.shards[shard].last(&conv).is_some_and(|last| last <= after) {
                    // The manager has no later event: the worker misses nothing.
                    self.workers.send(
                        worker,
                        HubEvent::Pulled {
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
            HubCommand::Attach { worker, user } => {
                let shard = self.shard_of(user.as_str());
                self.shards[shard].attach(worker, &user);
            }
            HubCommand::Detach { worker, user } => {
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
            if shard.silent(now, self.node.settings.delivery_timeout) {
                self.gap(at, now);
            }
        }
        // In order of their times, because every retry has the same delay.
        while let Some((_, pull)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.pulls.push_back(pull);
        }
    }

    /// Sends every worker its batch, and removes the interests of workers that have ended.
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

/// Copies a record out of its frame: a single event must not keep the whole frame in memory.
fn owned(what: DeliveryPayload<'_>) -> Option<Delivered> {
    let user = |text: Option<&str>| text.and_then(|text| UserId::parse(text).ok());
    Some(match what {
        DeliveryPayload::Event {
            conv,
            seq,
            skip,
            removes,
            adds,
            only,
            tail,
        } => Delivered::Event(
            EventEnvelope {
                conv: ConversationId::parse(conv).ok()?,
                seq,
                tail: Bytes::copy_from_slice(tail),
                removes: user(removes),
                adds: user(adds),
                skip,
                only: user(only),
            }
            .into(),
        ),
        DeliveryPayload::Joined { user, conv } => Delivered::Joined {
            user: UserId::parse(user).ok()?,
            conv: ConversationId::parse(conv).ok()?,
        },
        DeliveryPayload::Active { user, conv, last } => Delivered::Active(MovedMember {
            user: UserId::parse(user).ok()?,
            conv: ConversationId::parse(conv).ok()?,
            last,
        }),
    })
}
