//! Requests of the manager: due registrations, missing ranges, and their results.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;

use super::{ManagerTask, Pull};
use crate::conversation::CommandError;
use crate::conversation::shard_client::ask;
use crate::conversation::state_machine::EventEnvelope;
use crate::relay::hub_event::HubEvent;
use crate::relay::shard_interest::{PendingQuestion, ShardInterest};
use crate::rpc::owner::{OwnerCallError, answer, backoff, read, shard_at};
use crate::rpc::read::{RangeQuery, Ranged};
use crate::rpc::register::InterestRegistered;
use crate::rpc::{self, RpcError};

/// Maximum number of ranges that are read concurrently.
const PULLS: usize = 16;
/// Delay before a range is read again.
const PULL_RETRY: Duration = Duration::from_millis(200);

/// Result of a request to an owner.
pub(super) enum ResponseEvent {
    /// Result of a registration or unregistration for a shard.
    Answer {
        shard: usize,
        id: u64,
        result: Result<Option<InterestRegistered>, OwnerCallError>,
    },
    Range {
        pull: Pull,
        result: Result<Ranged, CommandError>,
    },
}

// === impl ManagerTask ===

impl ManagerTask {
    /// Time of the next due request; `None` if there is none, or the maximum is under way.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.questions >= self.node.settings.registrations {
            return None;
        }
        self.shards.iter().filter_map(ShardInterest::due).min()
    }

    /// Sends the due requests, up to the maximum under way.
    pub(super) fn ask(&mut self) {
        let now = Instant::now();
        // Shards with waiting subscriptions come before those that only unregister. Bounded: after a start all shards are
        // due at once, and their responses may be large.
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
                // Without an owner there is no deadline to wait for: the routing table is checked again shortly.
                shard.postpone(now + Duration::from_millis(100));
                continue;
            };
            let (id, question) = shard.ask(route.epoch);
            let (method, body) = match &question {
                PendingQuestion::Register(register) => (rpc::REGISTER, rpc::encode(register)),
                PendingQuestion::Unregister(unregister) => (rpc::UNREGISTER, rpc::encode(unregister)),
            };
            self.node.metrics.registrations.inc();
            self.questions += 1;
            let call = self
                .cluster
                .call(owner, method, body, self.node.settings.call_deadline);
            self.under_way.push(Box::pin(async move {
                let result = answer(call).await.and_then(|body| understood(method, &body));
                ResponseEvent::Answer {
                    shard: at,
                    id,
                    result,
                }
            }));
        }
    }

    /// Reads missing ranges, up to the maximum under way.
    pub(super) fn pull(&mut self) {
        while self.ranges < PULLS
            && let Some(pull) = self.pulls.pop_front()
        {
            self.node.metrics.relay_pulls.inc();
            self.ranges += 1;
            let node = self.node.clone();
            self.under_way.push(Box::pin(async move {
                let range = RangeQuery {
                    conv: pull.conv.clone(),
                    after: pull.after,
                };
                let result = ask(&node, shard_at(pull.shard), rpc::RANGE, &range).await;
                ResponseEvent::Range { pull, result }
            }));
        }
    }

    pub(super) fn on_response(&mut self, response: ResponseEvent) {
        let now = Instant::now();
        match response {
            ResponseEvent::Answer { shard, id, result } => {
                self.questions -= 1;
                match result {
                    Ok(answer) => {
                        self.shards[shard].answered(id, answer, now, &mut self.workers, &mut self.holes);
                        self.take_holes(shard);
                    }
                    Err(OwnerCallError::Refused(RpcError::Unregistered)) => {
                        // First completed as failed: its conversations and admissions return to the queue.
                        self.shards[shard].failed(id, rand::random(), now, |_| Duration::ZERO);
                        self.gap(shard, now);
                    }
                    Err(failed) => {
                        debug!(shard, ?failed, "registration failed, will retry");
                        // The refusal may name the new owner.
                        failed.hint(&self.cluster, shard_at(shard));
                        self.shards[shard].failed(id, rand::random(), now, backoff);
                    }
                }
            }
            ResponseEvent::Range { pull, result } => {
                self.ranges -= 1;
                match (pull.worker, result) {
                    (Some(worker), Ok(range)) => {
                        let events = range.events.into_iter();
                        let events = events
                            .map(|event| EventEnvelope::replay(pull.conv.clone(), event).into())
                            .collect();
                        let event = HubEvent::Pulled {
                            conv: pull.conv,
                            events,
                            last: range.last,
                        };
                        self.workers.send(worker, event);
                    }
                    (None, Ok(range)) => {
                        let hole = self.shards[pull.shard].pulled(&pull.conv, Some(range), &mut self.workers);
                        self.holes.extend(hole);
                        self.take_holes(pull.shard);
                    }
                    (_, Err(refusal)) => {
                        debug!(conv = %pull.conv, %refusal, "catch-up query failed, will retry");
                        // Retried without a limit: no subscriber can continue over the missing events.
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
                // At a random time: all nodes register with the new owner after a failover.
                let most = self.node.settings.registration_jitter;
                let wait = most.mul_f64(rand::random_range(0.0..1.0));
                self.shards[at].mark_stale(rand::random(), now, wait);
            }
        }
    }
}

fn understood(method: u16, body: &Bytes) -> Result<Option<InterestRegistered>, OwnerCallError> {
    if method == rpc::UNREGISTER {
        return Ok(None);
    }
    read(body).map(Some)
}
