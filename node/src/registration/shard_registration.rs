//! Registration of this node with the owner of one shard: its id, its owner's epoch, and the next request.
//!
//! Pure: the [task](super::RegistrationTask) supplies responses, route changes, random ids and the time, and sends the
//! requests.

use std::time::{Duration, Instant};

use cluster::ShardId;

use super::{RegistrationContent, RegistrationHead, WorkerQueues};
use crate::shard_client::Backoff;

/// Registration with the owner of one shard. At most one request is in flight.
#[derive(Debug)]
pub(crate) struct ShardRegistration<T: RegistrationContent> {
    shard: ShardId,
    registration: u64,
    /// True until the owner has confirmed the registration.
    fresh: bool,
    /// Epoch of the last request; 0 before the first.
    epoch: u64,
    /// Earliest time of the next request, after a failure or without an owner.
    not_before: Option<Instant>,
    backoff: Backoff,
    in_flight: Option<(u64, T::InFlight)>,
    /// Number of requests so far; the number of the last one.
    requests: u64,
    pub(crate) content: T,
}

// === impl ShardRegistration ===

impl<T: RegistrationContent> ShardRegistration<T> {
    pub(crate) fn new(shard: ShardId, registration: u64, content: T) -> ShardRegistration<T> {
        ShardRegistration {
            shard,
            registration,
            fresh: true,
            epoch: 0,
            not_before: None,
            backoff: Backoff::default(),
            in_flight: None,
            requests: 0,
            content,
        }
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn registration(&self) -> u64 {
        self.registration
    }

    /// Returns the epoch of the last request; 0 before the first.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns true if the owner has confirmed the registration, and it holds something.
    pub(crate) fn is_active(&self) -> bool {
        !self.fresh && !self.content.is_empty()
    }

    /// Marks the registration as stale; the full registration is sent again after `wait`.
    pub(crate) fn mark_stale(&mut self, registration: u64, now: Instant, wait: Duration) {
        // A late response to the former registration must not be matched with the new one.
        let in_flight = self.in_flight.take().map(|(_, in_flight)| in_flight);
        self.renew(registration, now, wait, in_flight);
    }

    fn renew(&mut self, registration: u64, now: Instant, wait: Duration, in_flight: Option<T::InFlight>) {
        self.registration = registration;
        self.fresh = true;
        self.not_before = Some(now + wait);
        self.content.on_stale(in_flight, now);
    }

    /// Returns true if `epoch` belongs to a newer owner than the registered one.
    pub(crate) fn owner_changed(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && !self.content.is_empty()
    }

    /// Returns the time of the next request; `None` without changes, or while a request is in flight.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let due = self.content.due(now)?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }

    /// Defers the next request, because the shard has no owner.
    pub(crate) fn defer(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// Creates the next request to the owner under `epoch`. Returns it with its number.
    pub(crate) fn next_request(&mut self, epoch: u64, now: Instant) -> (u64, T::Request) {
        self.epoch = epoch;
        self.requests += 1;
        self.not_before = None;
        let head = RegistrationHead {
            shard: self.shard.0,
            epoch,
            registration: self.registration,
            fresh: self.fresh,
        };
        let (request, in_flight) = self.content.next_request(head, now);
        self.in_flight = Some((self.requests, in_flight));
        (self.requests, request)
    }

    /// Applies the response to request `id`. The response to another request is ignored.
    pub(crate) fn on_response(
        &mut self,
        id: u64,
        response: T::Response,
        now: Instant,
        workers: &mut WorkerQueues<T::Batch>,
    ) {
        let Some(in_flight) = self.take_in_flight(id) else {
            return;
        };
        self.fresh = false;
        self.backoff.reset();
        self.content.on_response(in_flight, response, now, workers);
    }

    /// Queues the entries of request `id`, which failed, again after `wait`.
    ///
    /// A registration that was not confirmed yet gets another id. The owner may have created and lost it since, and
    /// would number its deliveries from 1 again.
    pub(crate) fn on_failure(
        &mut self,
        id: u64,
        registration: u64,
        now: Instant,
        wait: impl FnOnce(&mut Backoff) -> Duration,
    ) {
        let Some(in_flight) = self.take_in_flight(id) else {
            return;
        };
        let wait = wait(&mut self.backoff);
        if self.fresh {
            return self.renew(registration, now, wait, Some(in_flight));
        }
        self.not_before = Some(now + wait);
        self.content.on_failure(in_flight);
    }

    fn take_in_flight(&mut self, id: u64) -> Option<T::InFlight> {
        let (_, in_flight) = self.in_flight.take_if(|(known, _)| *known == id)?;
        Some(in_flight)
    }
}
