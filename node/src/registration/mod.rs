//! Registrations of this node with the shard owners: soft state that an owner holds for the node and may lose.
//!
//! A [`ShardRegistration`] tracks, for one shard, the part that the owner has confirmed, and creates the next request. A
//! [`RegistrationTask`] holds those of all shards with their requests in flight, and the [`WorkerQueues`] that carry
//! the owners' answers to the worker threads. The registered things are a [`RegistrationContent`]:
//!
//! ```text
//!                                     ┌ conversations and users (crate::subscription)
//!  RegistrationTask ─ ShardRegistration ┤
//!         │                           └ sessions and watches (crate::presence::reporter)
//!         ├─▶ OwnerClient ─▶ shard owner
//!         └─▶ WorkerQueues ─▶ worker threads
//! ```
//!
//! At most one request per shard is in flight; later changes join the next one. If the owner's state is uncertain (a
//! new owner, a lost registration, a lost response to the first request), the full registration is sent again under a
//! new id. See docs/delivery.md, "The way to the receivers".

mod registration_task;
mod shard_registration;
mod worker_queues;

use std::time::Instant;

use bytes::Bytes;

use crate::shard_client::OwnerCallError;

pub(crate) use registration_task::RegistrationTask;
pub(crate) use shard_registration::ShardRegistration;
pub(crate) use worker_queues::{WorkerBatch, WorkerId, WorkerQueues};

/// Maximum number of entries of each kind in one request.
pub(crate) const PAGE: usize = 1_024;

/// Head of a request: the registration that it adds to, or begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegistrationHead {
    pub(crate) shard: u16,
    /// Epoch of the shard owner as known here.
    pub(crate) epoch: u64,
    pub(crate) registration: u64,
    /// True until the owner has confirmed the registration; the request then replaces the node's earlier one.
    pub(crate) fresh: bool,
}

/// Things that a node registers at the owner of one shard, with the changes that the owner has not confirmed.
pub(crate) trait RegistrationContent {
    type Request;
    /// Entries of a request, retained until its response.
    type InFlight;
    type Response: Send + 'static;
    type Batch: WorkerBatch;

    /// Returns true if nothing is registered.
    fn is_empty(&self) -> bool;

    /// Returns true if a session waits for the next request. Urgent requests are sent first.
    fn is_urgent(&self) -> bool;

    /// Returns the time at which the changes are due; `None` without changes.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// Queues everything again for a new registration. `in_flight` is of the former one.
    fn on_stale(&mut self, in_flight: Option<Self::InFlight>, now: Instant);

    /// Creates the next request from the queued changes.
    fn next_request(&mut self, head: RegistrationHead, now: Instant) -> (Self::Request, Self::InFlight);

    /// Queues the entries of a failed request again.
    fn on_failure(&mut self, in_flight: Self::InFlight);

    /// Applies the response to a request.
    fn on_response(
        &mut self,
        in_flight: Self::InFlight,
        response: Self::Response,
        now: Instant,
        workers: &mut WorkerQueues<Self::Batch>,
    );

    /// Removes everything of a worker that has ended.
    fn remove_worker(&mut self, worker: WorkerId);

    /// Returns the method and the body of a request.
    fn encode(request: &Self::Request) -> (u16, Bytes);

    /// Decodes the response to a request of `method`.
    fn decode(method: u16, body: &[u8]) -> Result<Self::Response, OwnerCallError>;
}

/// Removes the first page of queued entries.
pub(crate) fn next_page<T>(queued: &mut Vec<T>) -> Vec<T> {
    let rest = queued.split_off(queued.len().min(PAGE));
    std::mem::replace(queued, rest)
}
