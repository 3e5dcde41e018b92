//! The lane from this node to the owner of one shard: one task that sends what is queued, in order, until it is
//! answered.
//!
//! Several batches are under way at once. Anything unexpected (a refusal, a broken link, a timeout, the news of another
//! owner) has one answer: abandon the stream and send the whole unanswered [window](super::window) again, in order,
//! under a new stream number. The owner's [streams](crate::conversation::shard) let a stream in only from its first
//! batch on, and client ids make the repeats harmless.
//!
//! An owner that is paused or behind a black hole refuses nothing. So the lane listens to the routing table: a newer
//! epoch abandons what is under way at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, Route, ShardId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use protocol::{Cid, ConvId, UserId};
use tokio::sync::{Notify, oneshot};
use tracing::debug;

use super::hold::Holds;
use super::window::{Bounds, Entry, Tag, Window};
use crate::conversation::answer::{Done, Refusal};
use crate::conversation::shard::batch::BatchReply;
use crate::conversation::shard::messages::Submit;
use crate::conversation::shard::streams::StreamId;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::Command;
use crate::rpc::submit::{Answers, Head};
use crate::rpc::{self, Refused};

/// What is queued for one shard.
pub(crate) struct Lane {
    shard: ShardId,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    window: Window<Queued>,
    holds: Holds,
    closed: bool,
}

/// A command on its way.
struct Queued {
    bytes: Bytes,
    conv: ConvId,
    user: UserId,
    cid: Option<Cid>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// A command in the lane; resolves with its result.
pub(crate) type Ticket = oneshot::Receiver<Result<Done, Refusal>>;

/// A batch under way.
type Flight = BoxFuture<'static, (Tag, Result<Answers, Failure>)>;

/// Why a batch has no answers.
#[derive(Debug)]
enum Failure {
    /// The owner certainly didn't take it.
    NotTaken(Option<Refused>),
    /// Nobody can say.
    Unknown,
}

/// The lane's task.
struct Runner {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    cluster: Cluster,
    flights: FuturesUnordered<Flight>,
    /// The epoch that the current stream was sent under.
    epoch: u64,
    /// Attempts in a row that failed.
    failures: u32,
    /// Nothing is sent until then.
    pause: Option<Instant>,
}

// === impl Entry for Queued ===

impl Entry for Queued {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn orders(&self, other: &Queued) -> bool {
        self.cid.is_some() && other.cid.is_some() && self.user == other.user && self.conv == other.conv
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(shard: ShardId, shared: &Shared) -> Lane {
        let settings = &shared.settings;
        let bounds = Bounds {
            entries: settings.lane_commands,
            bytes: settings.lane_bytes,
            batch_entries: settings.batch_commands,
            batch_bytes: settings.batch_bytes,
            flights: settings.batches_in_flight,
        };
        let state = State {
            window: Window::new(bounds),
            holds: Holds::default(),
            closed: false,
        };
        Lane {
            shard,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Queues a command, or refuses it at once.
    pub(crate) fn push(&self, command: Command, shared: &Shared) -> Result<Ticket, Refusal> {
        let bytes = command.encode();
        let now = Instant::now();
        let (reply, ticket) = oneshot::channel();
        let Command { conv, user, cid, .. } = command;
        let queued = Queued {
            bytes,
            conv,
            user,
            cid,
            deadline: now + shared.settings.send_budget,
            reply,
        };
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Refusal::unavailable());
            }
            if let Some(cid) = &queued.cid
                && !state.holds.admits(&queued.user, &queued.conv, cid, now)
            {
                shared.metrics.lane_refused.inc();
                return Err(Refusal::busy(
                    "an earlier command of this sender was refused: send that one first",
                ));
            }
            if let Err(queued) = state.window.push(queued) {
                shared.metrics.lane_refused.inc();
                state.hold(&queued, now, shared.settings.order_hold);
                return Err(Refusal::busy("too many commands wait for this shard"));
            }
        }
        shared.metrics.lane_commands.inc();
        self.wake.notify_one();
        Ok(ticket)
    }

    /// Refuses new commands from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Sends until the lane is closed and empty, or the node stops.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, cluster: Cluster) {
        let stop = shared.stop.clone();
        let lane = self.clone();
        let runner = Runner {
            lane: self,
            shared,
            cluster,
            flights: FuturesUnordered::new(),
            epoch: 0,
            failures: 0,
            pause: None,
        };
        tokio::select! {
            () = runner.run() => {}
            () = stop.cancelled() => {}
        }
        // The node stops.
        for expired in lane.state.lock().window.expire(|_| true) {
            let refusal = if expired.unknown {
                Refusal::unknown()
            } else {
                Refusal::unavailable()
            };
            let _ = expired.entry.reply.send(Err(refusal));
        }
    }
}

// === impl State ===

impl State {
    fn hold(&mut self, queued: &Queued, now: Instant, lasts: Duration) {
        if let Some(cid) = &queued.cid {
            self.holds.refuse(&queued.user, &queued.conv, cid, now, lasts);
        }
    }
}

// === impl Runner ===

impl Runner {
    async fn run(mut self) {
        let lane = self.lane.clone();
        let mut routes = self.cluster.routes();
        loop {
            self.send();
            let Some(timer) = self.next_timer() else {
                // Nothing to wait for but commands.
                if lane.state.lock().closed {
                    return;
                }
                lane.wake.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                Some((tag, result)) = self.flights.next() => self.landed(tag, result),
                Ok(()) = routes.changed() => self.rerouted(),
                () = lane.wake.notified() => {}
                () = tokio::time::sleep_until(timer.into()) => self.timed_out(),
            }
        }
    }

    /// Sends what the window lets go, unless the lane pauses.
    fn send(&mut self) {
        if let Some(pause) = self.pause {
            if Instant::now() < pause {
                return;
            }
            self.pause = None;
        }
        while self.lane.state.lock().window.waiting() {
            let route = self.cluster.route(self.lane.shard);
            let Some(owner) = destination(&route) else {
                self.back_off();
                return;
            };
            if self.flights.is_empty() {
                self.epoch = route.epoch;
            } else if route.epoch > self.epoch {
                self.restart(None);
                self.epoch = route.epoch;
            }
            let mut commands = Vec::new();
            let Some(tag) = self
                .lane
                .state
                .lock()
                .window
                .launch(|queued| commands.push(queued.bytes.clone()))
            else {
                return;
            };
            self.shared.metrics.lane_batches.inc();
            self.flights.push(self.fly(owner, tag, commands));
        }
    }

    /// Hands a batch to its owner; it is enqueued when this returns.
    fn fly(&self, owner: NodeId, tag: Tag, commands: Vec<Bytes>) -> Flight {
        let shard = self.lane.shard;
        if owner == self.cluster.node_id() {
            let (reply, answer) = oneshot::channel();
            let from = StreamId::new(owner, self.shared.incarnation, tag);
            let submit = Submit {
                from,
                number: tag.number,
                commands,
                reply: BatchReply::Local(reply),
            };
            crate::conversation::directory::submit(&self.shared, shard, submit);
            return Box::pin(async move {
                let result = match answer.await {
                    Ok(Ok(answers)) => Ok(answers),
                    Ok(Err(refused)) => Err(Failure::of(refused)),
                    Err(_) => Err(Failure::Unknown),
                };
                (tag, result)
            });
        }
        let head = Head {
            shard: shard.0,
            incarnation: self.shared.incarnation,
            stream: tag.stream,
            number: tag.number,
            lens: commands
                .iter()
                .map(|command| u32::try_from(command.len()).unwrap_or(u32::MAX))
                .collect(),
        };
        let body = rpc::submit::encode(&head, &commands);
        let call = self
            .cluster
            .call(owner, rpc::SUBMIT, body, self.shared.settings.call_deadline);
        Box::pin(async move {
            let result = match call.await {
                Ok(body) => rpc::decode(&body).map_err(|_| Failure::Unknown),
                Err(CallError::Refused(body)) => {
                    Err(rpc::decode(&body).map_or(Failure::Unknown, Failure::of))
                }
                Err(CallError::Unreachable | CallError::Busy) => Err(Failure::NotTaken(None)),
                Err(CallError::Lost) => Err(Failure::Unknown),
            };
            (tag, result)
        })
    }

    /// A batch was answered, or wasn't.
    fn landed(&mut self, tag: Tag, result: Result<Answers, Failure>) {
        match result {
            Ok(answers) => {
                let Some(entries) = self.lane.state.lock().window.answered(tag) else {
                    return;
                };
                self.failures = 0;
                debug_assert_eq!(entries.len(), answers.len(), "one answer per command");
                self.shared
                    .metrics
                    .lane_commands
                    .dec_by(entries.iter().flatten().count() as i64);
                for (queued, answer) in entries.into_iter().zip(answers) {
                    if let Some(queued) = queued {
                        // A session that is gone doesn't want to know.
                        let _ = queued.reply.send(answer.result(queued.conv));
                    }
                }
            }
            Err(failure) => {
                debug!(
                    shard = self.lane.shard.0,
                    ?failure,
                    "batch not answered, sending again"
                );
                let known = self.epoch;
                let refused = match failure {
                    Failure::NotTaken(refused) => {
                        if let Some(Refused::NotOwner {
                            owner: Some(owner),
                            epoch,
                        }) = refused
                        {
                            self.cluster.hint(self.lane.shard, NodeId(owner), epoch);
                        }
                        Some(tag)
                    }
                    Failure::Unknown => None,
                };
                self.restart(refused);
                // A newer owner is tried at once, but hints may also lead in circles.
                self.failures += 1;
                if self.cluster.route(self.lane.shard).epoch <= known || self.failures > 5 {
                    self.back_off();
                }
            }
        }
    }

    /// The routing table changed.
    fn rerouted(&mut self) {
        let route = self.cluster.route(self.lane.shard);
        if route.owner.is_some() && route.epoch > self.epoch {
            if !self.flights.is_empty() {
                debug!(
                    shard = self.lane.shard.0,
                    epoch = route.epoch,
                    "new owner, sending again"
                );
                self.restart(None);
            }
            self.epoch = route.epoch;
            self.failures = 0;
            self.pause = None;
        }
    }

    fn timed_out(&mut self) {
        let now = Instant::now();
        let mut state = self.lane.state.lock();
        if state.window.oldest().is_none_or(|oldest| oldest.deadline > now) {
            return;
        }
        let gone = state.window.expire(|queued| queued.deadline <= now);
        for expired in &gone {
            state.hold(&expired.entry, now, self.shared.settings.order_hold);
        }
        drop(state);
        debug!(
            shard = self.lane.shard.0,
            commands = gone.len(),
            "no owner answered within the budget"
        );
        self.shared.metrics.lane_commands.dec_by(gone.len() as i64);
        self.shared.metrics.lane_refused.inc_by(gone.len() as u64);
        for expired in gone {
            let refusal = if expired.unknown {
                Refusal::unknown()
            } else {
                Refusal::unavailable()
            };
            let _ = expired.entry.reply.send(Err(refusal));
        }
    }

    fn restart(&mut self, refused: Option<Tag>) {
        self.shared.metrics.lane_restarts.inc();
        self.flights.clear();
        self.lane.state.lock().window.restart(refused);
    }

    fn back_off(&mut self) {
        let ceiling = 20u64 << self.failures.min(5);
        let wait = rand::random_range(10..=ceiling.clamp(20, 400));
        self.pause = Some(Instant::now() + Duration::from_millis(wait));
    }

    /// When to look again although nothing happened; `None` when the window is empty.
    fn next_timer(&self) -> Option<Instant> {
        let state = self.lane.state.lock();
        let deadline = state.window.oldest()?.deadline;
        let pause = self.pause.filter(|_| state.window.waiting());
        Some(pause.map_or(deadline, |pause| pause.min(deadline)))
    }
}

/// Whom to ask: the owner, or any replica if none is known.
fn destination(route: &Route) -> Option<NodeId> {
    use rand::seq::IndexedRandom;
    route
        .owner
        .or_else(|| route.replicas.choose(&mut rand::rng()).copied())
}

// === impl Failure ===

impl Failure {
    fn of(refused: Refused) -> Failure {
        match refused {
            Refused::Broken { unknown: true } | Refused::Failed(_) => Failure::Unknown,
            refused => Failure::NotTaken(Some(refused)),
        }
    }
}
