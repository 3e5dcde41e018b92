//! The task of one lane: sends, hears answers, follows the owner, gives up what took too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, Route};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tracing::debug;

use super::Lane;
use crate::conversation::answer::Refusal;
use crate::conversation::route::window::Tag;
use crate::conversation::shard::batch::BatchReply;
use crate::conversation::shard::messages::Submit;
use crate::conversation::shard::streams::StreamId;
use crate::conversation::shared::Shared;
use crate::rpc::submit::{Answers, Head};
use crate::rpc::{self, Refused};

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
pub(super) struct Runner {
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

// === impl Runner ===

impl Runner {
    pub(super) fn new(lane: Arc<Lane>, shared: Arc<Shared>, cluster: Cluster) -> Runner {
        Runner {
            lane,
            shared,
            cluster,
            flights: FuturesUnordered::new(),
            epoch: 0,
            failures: 0,
            pause: None,
        }
    }

    /// Runs until the lane is closed and empty.
    pub(super) async fn run(mut self) {
        let lane = self.lane.clone();
        let mut routes = self.cluster.routes();
        loop {
            lane.ripen(false, &self.shared);
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
                        let result = answer.result(queued.conv.clone());
                        queued.answer(result);
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
            expired.entry.answer(Err(refusal));
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

    /// When to look again although nothing happened; `None` when nothing is queued.
    fn next_timer(&self) -> Option<Instant> {
        let state = self.lane.state.lock();
        let deadline = state.window.oldest().map(|oldest| oldest.deadline);
        let pause = self.pause.filter(|_| state.window.waiting());
        [deadline, pause, state.cursors.due()].into_iter().flatten().min()
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
