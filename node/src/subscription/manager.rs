//! Manager task: one loop per node that owns the state of every shard and executes its requests.
//!
//! Path of a message: step 12 of 13.
//!
//! Every missing delivery is made good by a new registration or by a range read from the log; see docs/delivery.md,
//! "The way to the receivers".

mod ranges;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::NodeId;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::{ConversationId, UserId};
use tokio::sync::mpsc;
use tracing::debug;

use self::ranges::RangeResponse;
use super::hub_event::{HubCommand, HubEvent};
use super::shard_interest::{MembershipCheck, ShardInterest};
use super::{Delivered, Node, OwnerDelivery, SubscriptionManager};
use crate::registration::{RegistrationTask, WorkerId};
use crate::rpc;
use crate::rpc::deliver::{DeliveryPayload, DeliveryTarget, Positions};
use crate::shard_client::wait_until;
use crate::state_machine::{EventEnvelope, MovedMember};
use crate::telemetry::ConversationMetrics;

/// Maximum number of queued commands of all workers.
const CONTROL: usize = 4096;
/// Frames queued for the subscription manager. Further ones are dropped and show as a gap.
const FRAMES: usize = 512;
/// Time without a delivery or heartbeat after which the subscription manager registers again: four heartbeats.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Concurrent registrations of this node. More would compete for the queries of the owners.
const REGISTRATIONS: usize = 8;

/// Maximum number of inputs processed before their results are sent.
const TURN: usize = 64;
/// Interval of the checks for silent owners, expired admissions and slow workers.
const TICK: Duration = Duration::from_millis(100);

/// Sending end of the queue of deliveries. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeliverySender {
    deliveries: mpsc::Sender<IncomingDelivery>,
    metrics: ConversationMetrics,
}

/// Receiving ends of the manager's queues.
pub(crate) struct DeliveryReceiver {
    deliveries: mpsc::Receiver<IncomingDelivery>,
    control: mpsc::Receiver<HubCommand>,
}

/// Input from the owners of shards.
enum IncomingDelivery {
    /// Encoded deliveries of another node.
    Frame(Bytes),
    /// Deliveries of shards that this node owns.
    Here(Vec<OwnerDelivery>),
    /// Last delivery seq of each idle registration.
    Positions(Positions),
}

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
    registrations: RegistrationTask<ShardInterest>,
    /// Ranges that are being read.
    ranges: FuturesUnordered<BoxFuture<'static, RangeResponse>>,
    pulls: VecDeque<Pull>,
    later: VecDeque<(Instant, Pull)>,
}

/// Creates the queues of a node's subscription manager.
pub(crate) fn channels(
    metrics: ConversationMetrics,
) -> (SubscriptionManager, DeliverySender, DeliveryReceiver) {
    let (frame_sender, deliveries) = mpsc::channel(FRAMES);
    let (control_sender, control) = mpsc::channel(CONTROL);
    let relay = SubscriptionManager {
        control: control_sender,
    };
    (
        relay,
        DeliverySender {
            deliveries: frame_sender,
            metrics,
        },
        DeliveryReceiver { deliveries, control },
    )
}

/// Runs the manager until the node stops.
pub(crate) async fn run(node: Node, mut receiver: DeliveryReceiver) {
    let Some(owners) = node.owners().cloned() else {
        return;
    };
    let (stop, now) = (node.stop.clone(), Instant::now());
    let mut routes = owners.cluster().routes();
    let requests = node.metrics.registrations.clone();
    let mut task = ManagerTask {
        node,
        registrations: RegistrationTask::new(owners, REGISTRATIONS, requests, || ShardInterest::new(now)),
        ranges: FuturesUnordered::new(),
        pulls: VecDeque::new(),
        later: VecDeque::new(),
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut deliveries = Vec::with_capacity(TURN);
    let mut orders = Vec::with_capacity(TURN);
    loop {
        let (due, ticks) = (task.registrations.next_due(), task.registrations.workers.any());
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
            Some(response) = task.registrations.next_response() => {
                let shard = response.shard;
                if task.registrations.on_response(response) {
                    task.node.metrics.relay_gaps.inc();
                }
                task.take_missing(shard);
            }
            Some(response) = task.ranges.next() => task.on_range(response),
            Ok(()) = routes.changed() => task.registrations.on_route_change(),
            _ = tick.tick(), if ticks => task.ticked(),
            () = wait_until(due) => {}
        }
        // After every input: what it caused must not wait for the next one.
        task.registrations.send_due();
        task.pull();
        task.send();
    }
}

// === impl DeliverySender ===

impl DeliverySender {
    /// Queues a frame of another node.
    pub(crate) fn frame(&self, from: NodeId, link: u64, frame: Bytes) {
        // Irrelevant: every record names its registration.
        let _ = (from, link);
        self.push(IncomingDelivery::Frame(frame));
    }

    /// Queues deliveries of shards that this node owns.
    pub(crate) fn here(&self, deliveries: Vec<OwnerDelivery>) {
        self.push(IncomingDelivery::Here(deliveries));
    }

    /// Queues the last delivery seqs of registrations.
    pub(crate) fn positions(&self, positions: Positions) {
        self.push(IncomingDelivery::Positions(positions));
    }

    fn push(&self, arrival: IncomingDelivery) {
        // Never blocks the transport: a dropped delivery shows as a gap in the delivery seq, and is read again.
        if self.deliveries.try_send(arrival).is_err() {
            self.metrics.relay_dropped.inc();
        }
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
        let RegistrationTask { shards, workers, .. } = &mut self.registrations;
        let Some(shard) = shards.get_mut(at) else {
            return;
        };
        if !shard.deliver(delivery, now, workers) {
            self.gap(at, now);
        }
        self.take_missing(at);
    }

    fn position(&mut self, to: &DeliveryTarget, now: Instant) {
        let at = usize::from(to.shard);
        let shard = self.registrations.shards.get_mut(at);
        if shard.is_some_and(|shard| !shard.position(to, now)) {
            self.gap(at, now);
        }
    }

    fn gap(&mut self, shard: usize, now: Instant) {
        debug!(shard, "delivery gap, registering again");
        self.node.metrics.relay_gaps.inc();
        self.registrations.mark_stale(shard, now);
    }

    fn ordered(&mut self, order: HubCommand) {
        match order {
            HubCommand::Hello { worker, events } => self.registrations.workers.add(worker, events),
            HubCommand::Subscribe {
                worker,
                conv,
                user,
                ticket,
            } => {
                let at = self.registrations.shard_of(conv.as_str());
                let RegistrationTask { shards, workers, .. } = &mut self.registrations;
                let interest = &mut shards[at].content;
                // The interest first: the admission is requested with or after its conversation.
                interest.subscribe(worker, &conv, workers);
                interest.admit(MembershipCheck {
                    conv,
                    user,
                    worker,
                    ticket,
                    since: Instant::now(),
                });
            }
            HubCommand::Unsubscribe { worker, conv } => {
                self.registrations
                    .content_of(conv.as_str())
                    .unsubscribe(worker, &conv);
            }
            HubCommand::Pull { worker, conv, after } => self.on_pull(worker, conv, after),
            HubCommand::Attach { worker, user } => {
                self.registrations.content_of(user.as_str()).attach(worker, &user);
            }
            HubCommand::Detach { worker, user } => {
                self.registrations.content_of(user.as_str()).detach(worker, &user);
            }
        }
    }

    fn on_pull(&mut self, worker: WorkerId, conv: ConversationId, after: u64) {
        let shard = self.registrations.shard_of(conv.as_str());
        let interest = &self.registrations.shards[shard].content;
        if interest.last(&conv).is_some_and(|last| last <= after) {
            // The manager has no later event: the worker misses nothing.
            self.registrations.workers.send(
                worker,
                HubEvent::Pulled {
                    conv,
                    after,
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

    fn ticked(&mut self) {
        let now = Instant::now();
        for at in 0..self.registrations.shards.len() {
            let RegistrationTask { shards, workers, .. } = &mut self.registrations;
            shards[at].content.expire_admits(now, workers);
            if shards[at].is_silent(now, DELIVERY_TIMEOUT) {
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
        self.registrations.flush_workers();
        let (workers, metrics) = (&mut self.registrations.workers, &self.node.metrics);
        metrics
            .relay_events
            .inc_by(std::mem::take(&mut workers.deliveries));
        metrics
            .worker_overflows
            .inc_by(std::mem::take(&mut workers.overflows));
    }

    /// Queues the missing ranges of a shard.
    fn take_missing(&mut self, shard: usize) {
        for (conv, after) in self.registrations.shards[shard].content.missing.drain(..) {
            self.pulls.push_back(Pull {
                shard,
                conv,
                after,
                worker: None,
            });
        }
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
