//! Helpers of the loops that repeat a registration until its shard owner responds: subscriptions and presence.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, ShardId};
use serde::de::DeserializeOwned;
use tokio::time::sleep_until;

use super::{RpcError, decode};

/// Reason for a missing response.
#[derive(Debug)]
pub(crate) enum OwnerCallError {
    Refused(RpcError),
    /// The owner was not reached, or its response was lost or unreadable.
    Lost,
}

/// Awaits the response to a request.
pub(crate) async fn answer(
    call: impl Future<Output = Result<Bytes, CallError>>,
) -> Result<Bytes, OwnerCallError> {
    call.await.map_err(|error| match error {
        CallError::Refused(body) => decode(&body).map_or(OwnerCallError::Lost, OwnerCallError::Refused),
        CallError::Unreachable | CallError::Lost | CallError::Busy => OwnerCallError::Lost,
    })
}

/// Decodes a response; an unreadable one counts as lost.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, OwnerCallError> {
    decode(body).map_err(|_| OwnerCallError::Lost)
}

/// Returns the pause after `failures` failures in a row: at least 10 ms, at most 20 ms doubling up to 400 ms.
pub(crate) fn backoff(failures: u32) -> Duration {
    // Random: many nodes lose an owner at the same moment and must not retry in step.
    Duration::from_millis(rand::random_range(10..=(20u64 << failures.min(5)).clamp(20, 400)))
}

/// Waits until `due`, or forever without a deadline.
pub(crate) async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Returns the shard at an index of the list of all shards.
pub(crate) fn shard_at(at: usize) -> ShardId {
    ShardId(u16::try_from(at).unwrap_or(u16::MAX))
}

// === impl OwnerCallError ===

impl OwnerCallError {
    /// Updates the routing table if the failure is a `NotOwner` refusal that names an owner.
    pub(crate) fn hint(&self, cluster: &Cluster, shard: ShardId) {
        if let OwnerCallError::Refused(RpcError::NotOwner {
            owner: Some(owner),
            epoch,
        }) = self
        {
            cluster.hint(shard, NodeId(*owner), *epoch);
        }
    }
}
