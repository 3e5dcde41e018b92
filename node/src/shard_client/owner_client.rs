//! Client of shard owners: finds the owner of a shard, follows its changes, and repeats a request until it is answered.

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, Route, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::backoff::Backoff;
use super::command_error::CommandError;
use crate::rpc::{self, RpcError};

/// Number of hints in a row that are followed without a pause: outdated hints may lead in circles.
pub(super) const HINTS_AT_ONCE: u32 = 5;

/// Client of all shard owners. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OwnerClient {
    cluster: Cluster,
}

/// Reason for a missing response to one attempt.
#[derive(Debug)]
pub(crate) enum OwnerCallError {
    Refused(RpcError),
    /// The response cannot be decoded.
    Malformed(String),
    /// The request was not sent.
    NotSent,
    /// The request may have been served.
    Lost,
}

// === impl OwnerClient ===

impl OwnerClient {
    pub(crate) fn new(cluster: Cluster) -> OwnerClient {
        OwnerClient { cluster }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn route(&self, shard: ShardId) -> Route {
        self.cluster.route(shard)
    }

    /// Sends a query until there is a response, a final refusal, or `deadline` has passed. A query may be served twice,
    /// because it changes nothing.
    pub(crate) async fn call<A: DeserializeOwned>(
        &self,
        shard: ShardId,
        method: u16,
        request: &impl Serialize,
        deadline: Instant,
    ) -> Result<A, CommandError> {
        let body = rpc::encode(request);
        let mut routes = self.cluster.routes();
        let mut backoff = Backoff::default();
        let mut refusal = CommandError::unavailable();
        loop {
            // Marked before the route is read: a change in between would otherwise go unnoticed.
            routes.mark_unchanged();
            let route = self.route(shard);
            let hints_left = backoff.failures() < HINTS_AT_ONCE;
            let mut pause = Instant::now() + backoff.next();
            if let Some(owner) = route.owner {
                // A paused owner never refuses, so a newer epoch abandons the attempt at once.
                let response = tokio::select! {
                    response = self.attempt(owner, shard, method, body.clone()) => response,
                    () = self.newer_owner(&mut routes, shard, route.epoch) => continue,
                    () = sleep_until(deadline) => return Err(refusal),
                };
                match response.and_then(|body| decode(&body)) {
                    Ok(response) => return Ok(response),
                    Err(OwnerCallError::Refused(RpcError::NotOwner { .. })) => {
                        if hints_left && self.route(shard).epoch > route.epoch {
                            pause = Instant::now();
                        }
                    }
                    Err(OwnerCallError::Refused(refused)) => {
                        let is_final = is_final(&refused);
                        refusal = CommandError::of_query(refused);
                        if is_final {
                            return Err(refusal);
                        }
                    }
                    Err(OwnerCallError::Malformed(error)) => {
                        refusal = CommandError::of_query(RpcError::Failed(error));
                    }
                    Err(OwnerCallError::NotSent | OwnerCallError::Lost) => {}
                }
            }
            if pause >= deadline {
                return Err(refusal);
            }
            // A newer owner in the routing table ends the pause early.
            let _ = timeout_at(pause, self.newer_owner(&mut routes, shard, route.epoch)).await;
        }
    }

    /// Sends a request to an owner once. A refusal that names another owner updates the routing table.
    ///
    /// The request is enqueued when the method returns, so requests keep their order.
    pub(crate) fn attempt(
        &self,
        owner: NodeId,
        shard: ShardId,
        method: u16,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, OwnerCallError>> + Send + 'static {
        let call = self.cluster.call(owner, method, body, rpc::CALL_TIMEOUT);
        let cluster = self.cluster.clone();
        async move {
            call.await.map_err(|error| {
                let error = OwnerCallError::of(error);
                if let OwnerCallError::Refused(refused) = &error {
                    hint(&cluster, shard, refused);
                }
                error
            })
        }
    }

    /// Sends a request to a node that owns several shards; the caller follows the hints in its response.
    pub(super) async fn attempt_until(
        &self,
        owner: NodeId,
        method: u16,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, OwnerCallError> {
        let call = self.cluster.call(owner, method, body, rpc::CALL_TIMEOUT);
        // The attempt's own time limit may exceed the rest of the budget.
        let response = timeout_at(deadline, call).await.unwrap_or(Err(CallError::Lost));
        response.map_err(OwnerCallError::of)
    }

    /// Updates the routing table from a refusal that names an owner.
    pub(super) fn follow(&self, shard: ShardId, refused: &RpcError) {
        hint(&self.cluster, shard, refused);
    }

    /// Resolves once the routing table has an owner with a newer epoch.
    async fn newer_owner(&self, routes: &mut watch::Receiver<u64>, shard: ShardId, epoch: u64) {
        loop {
            if routes.changed().await.is_err() {
                // The node stops, so there will be no newer route; the caller's own timer ends the wait.
                std::future::pending::<()>().await;
            }
            if self.route(shard).epoch > epoch {
                return;
            }
        }
    }
}

/// Decodes the response to an attempt.
pub(crate) fn decode<A: DeserializeOwned>(body: &[u8]) -> Result<A, OwnerCallError> {
    rpc::decode(body).map_err(|error| OwnerCallError::Malformed(error.to_string()))
}

/// Returns true if a repeated query would be refused again.
fn is_final(refused: &RpcError) -> bool {
    matches!(
        refused,
        RpcError::NotMember | RpcError::Forbidden(_) | RpcError::Bad(_)
    )
}

/// Updates the routing table from a refusal that names an owner. An epoch that is older than the known one has no effect.
fn hint(cluster: &Cluster, shard: ShardId, refused: &RpcError) {
    if let RpcError::NotOwner {
        owner: Some(owner),
        epoch,
    } = refused
    {
        cluster.hint(shard, NodeId(*owner), *epoch);
    }
}

// === impl OwnerCallError ===

impl OwnerCallError {
    pub(super) fn of(error: CallError) -> OwnerCallError {
        match error {
            CallError::Refused(body) => match rpc::decode(&body) {
                Ok(refused) => OwnerCallError::Refused(refused),
                Err(error) => OwnerCallError::Malformed(error.to_string()),
            },
            CallError::Unreachable | CallError::Busy => OwnerCallError::NotSent,
            CallError::Lost => OwnerCallError::Lost,
        }
    }
}
