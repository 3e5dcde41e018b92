//! The relay's questions: registrations that are due, ranges that are missing, and what comes back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;

use super::{Pull, Task};
use crate::conversation::Refusal;
use crate::conversation::route::ask;
use crate::conversation::timeline::Published;
use crate::relay::notice::Notice;
use crate::relay::shard::{Question, ShardRelay};
use crate::rpc::owner::{Failed, answer, backoff, read, shard_at};
use crate::rpc::read::{Range, Ranged};
use crate::rpc::register::Registered;
use crate::rpc::{self, Refused};

/// Ranges read at the same time.
const PULLS: usize = 16;
/// Pause before a range is asked for again.
const PULL_RETRY: Duration = Duration::from_millis(200);

/// What came back from another node.
pub(super) enum Landed {
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

// === impl Task ===

impl Task {
    /// When a question is due that waits for its time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.questions >= self.node.settings.registrations {
            return None;
        }
        self.shards.iter().filter_map(ShardRelay::due).min()
    }

    /// Sends the questions that are due, a few at a time.
    pub(super) fn ask(&mut self) {
        let now = Instant::now();
        // Where somebody waits to be let in comes before where something is only given back.
        for (at, wants) in (0..self.shards.len())
            .map(|at| (at, true))
            .chain((0..self.shards.len()).map(|at| (at, false)))
        {
            if self.questions >= self.node.settings.registrations {
                return;
            }
            let shard = &self.shards[at];
            if shard.wants() != wants || shard.due().is_none_or(|due| due > now) {
                continue;
            }
            let route = self.cluster.route(shard_at(at));
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
                let result = answer(call).await.and_then(|body| understood(method, &body));
                Landed::Answer {
                    shard: at,
                    id,
                    result,
                }
            }));
        }
    }

    /// Reads the ranges that are missing, a few at a time.
    pub(super) fn pull(&mut self) {
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
                let result = ask(&node, shard_at(pull.shard), rpc::RANGE, &range).await;
                Landed::Range { pull, result }
            }));
        }
    }

    pub(super) fn landed(&mut self, landed: Landed) {
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
                        failed.hint(&self.cluster, shard_at(shard));
                        self.shards[shard].failed(id, rand::random(), now, backoff);
                    }
                }
            }
            Landed::Range { pull, result } => {
                self.ranges -= 1;
                match (pull.worker, result) {
                    (Some(worker), Ok(range)) => {
                        let events = range.events.into_iter();
                        let events = events
                            .map(|event| Published::replay(pull.conv.clone(), event).into())
                            .collect();
                        let notice = Notice::Pulled {
                            conv: pull.conv,
                            events,
                            last: range.last,
                        };
                        self.workers.tell(worker, notice);
                    }
                    (None, Ok(range)) => {
                        let hole = self.shards[pull.shard].pulled(&pull.conv, Some(range), &mut self.workers);
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

    pub(super) fn rerouted(&mut self) {
        let now = Instant::now();
        for at in 0..self.shards.len() {
            let route = self.cluster.route(shard_at(at));
            if route.owner.is_some() && self.shards[at].moved(route.epoch) {
                let most = self.node.settings.registration_jitter;
                let wait = most.mul_f64(rand::random_range(0.0..1.0));
                self.shards[at].doubt(rand::random(), now, wait);
            }
        }
    }
}

fn understood(method: u16, body: &Bytes) -> Result<Option<Registered>, Failed> {
    if method == rpc::UNREGISTER {
        return Ok(None);
    }
    read(body).map(Some)
}
