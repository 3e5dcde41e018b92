//! Registrations of all shards, with their requests in flight and the queues to the workers.
//!
//! Owned by the loop of the subscription manager or of the presence reporter, which adds its own inputs.

use std::time::{Duration, Instant};

use cluster::{Cluster, ShardId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use prometheus_client::metrics::counter::Counter;
use tracing::debug;

use super::{RegistrationContent, ShardRegistration, WorkerQueues};
use crate::rpc::RpcError;
use crate::shard_client::{Backoff, OwnerCallError, OwnerClient};

/// Pause before the routing table is read again while a shard has no owner.
const NO_OWNER: Duration = Duration::from_millis(50);

/// Upper bound of the random delay of registrations after an owner change: all nodes learn of it at once.
const JITTER: Duration = Duration::from_millis(200);

/// Registrations of this node with all shard owners.
pub(crate) struct RegistrationTask<T: RegistrationContent> {
    pub(crate) shards: Vec<ShardRegistration<T>>,
    pub(crate) workers: WorkerQueues<T::Batch>,
    owners: OwnerClient,
    /// Maximum number of requests in flight, over all shards.
    max_in_flight: usize,
    in_flight: FuturesUnordered<BoxFuture<'static, OwnerResponse<T::Response>>>,
    /// Counts the requests of all shards.
    requests: Counter,
}

/// Result of a request to the owner of a shard.
pub(crate) struct OwnerResponse<R> {
    pub(crate) shard: usize,
    id: u64,
    result: Result<R, OwnerCallError>,
}

// === impl RegistrationTask ===

impl<T: RegistrationContent> RegistrationTask<T> {
    pub(crate) fn new(
        owners: OwnerClient,
        max_in_flight: usize,
        requests: Counter,
        content: impl Fn() -> T,
    ) -> RegistrationTask<T> {
        let shards = (0..owners.cluster().shard_count()).map(ShardId);
        RegistrationTask {
            shards: shards
                .map(|shard| ShardRegistration::new(shard, rand::random(), content()))
                .collect(),
            workers: WorkerQueues::default(),
            owners,
            max_in_flight,
            in_flight: FuturesUnordered::new(),
            requests,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.owners.cluster()
    }

    /// Returns the index of the shard of a conversation or user id.
    pub(crate) fn shard_of(&self, key: &str) -> usize {
        usize::from(self.cluster().shard_of(key.as_bytes()).0)
    }

    /// Returns the registered things of the shard of a conversation or user id.
    pub(crate) fn content_of(&mut self, key: &str) -> &mut T {
        let at = self.shard_of(key);
        &mut self.shards[at].content
    }

    /// Returns the time of the next request; `None` if there is none, or the maximum is in flight.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.in_flight.len() >= self.max_in_flight {
            return None;
        }
        let now = Instant::now();
        self.shards.iter().filter_map(|shard| shard.due(now)).min()
    }

    /// Sends the due requests, up to the maximum in flight.
    pub(crate) fn send_due(&mut self) {
        let now = Instant::now();
        // Shards with waiting sessions come first. Bounded: after a start all shards are due at once, and their
        // responses may be large.
        for is_urgent in [true, false] {
            for at in 0..self.shards.len() {
                if self.in_flight.len() >= self.max_in_flight {
                    return;
                }
                let shard = &self.shards[at];
                if shard.content.is_urgent() == is_urgent && shard.due(now).is_some_and(|due| due <= now) {
                    self.send(at, now);
                }
            }
        }
    }

    fn send(&mut self, at: usize, now: Instant) {
        let shard = &mut self.shards[at];
        // The route is read now, not when the change was queued: the owner may be another one since.
        let route = self.owners.route(shard.shard());
        let Some(owner) = route.owner else {
            return shard.defer(now + NO_OWNER);
        };
        let (id, request) = shard.next_request(route.epoch, now);
        let (method, body) = T::encode(&request);
        self.requests.inc();
        let attempt = self.owners.attempt(owner, shard.shard(), method, body);
        self.in_flight.push(Box::pin(async move {
            let result = attempt.await.and_then(|body| T::decode(method, &body));
            OwnerResponse {
                shard: at,
                id,
                result,
            }
        }));
    }

    /// Returns the next result of a request; `None` if none is in flight. Cancel-safe.
    pub(crate) async fn next_response(&mut self) -> Option<OwnerResponse<T::Response>> {
        self.in_flight.next().await
    }

    /// Applies the result of a request. Returns true if the owner had lost the registration.
    pub(crate) fn on_response(&mut self, response: OwnerResponse<T::Response>) -> bool {
        let OwnerResponse {
            shard: at,
            id,
            result,
        } = response;
        let (now, shard) = (Instant::now(), &mut self.shards[at]);
        match result {
            Ok(response) => shard.on_response(id, response, now, &mut self.workers),
            Err(OwnerCallError::Refused(RpcError::Unregistered)) => {
                debug!(
                    shard = at,
                    "shard owner does not have the registration, registering again"
                );
                // The owner is reachable but has lost the registration, so the full one is sent without a pause.
                shard.mark_stale(rand::random(), now, Duration::ZERO);
                return true;
            }
            Err(failed) => {
                debug!(shard = at, ?failed, "registration failed, will retry");
                shard.on_failure(id, rand::random(), now, Backoff::next);
            }
        }
        false
    }

    /// Marks a registration as stale that its owner has lost, or whose deliveries have a gap.
    pub(crate) fn mark_stale(&mut self, at: usize, now: Instant) {
        // No delay: nothing is wrong with the owner, and events are late until the response.
        self.shards[at].mark_stale(rand::random(), now, Duration::ZERO);
    }

    /// Sends the full registration where a shard has a new owner.
    pub(crate) fn on_route_change(&mut self) {
        let now = Instant::now();
        for shard in &mut self.shards {
            let route = self.owners.route(shard.shard());
            if route.owner.is_some() && shard.owner_changed(route.epoch) {
                // At a random time: otherwise all nodes would register with the new owner at once.
                let wait = JITTER.mul_f64(rand::random_range(0.0..1.0));
                shard.mark_stale(rand::random(), now, wait);
            }
        }
    }

    /// Sends every worker its batch, and removes what was registered for workers that have ended.
    pub(crate) fn flush_workers(&mut self) {
        for worker in self.workers.flush() {
            for shard in &mut self.shards {
                shard.content.remove_worker(worker);
            }
        }
    }
}
