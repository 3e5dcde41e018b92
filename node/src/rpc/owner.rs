//! What the loops have in common that tell each shard's owner of something, again and again until it answers: the
//! [relay](crate::relay) of what is subscribed to here, the [attendance](crate::user::attendance) of who is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, ShardId};
use serde::de::DeserializeOwned;
use tokio::time::sleep_until;

use super::{Refused, decode};

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The owner refused.
    Refused(Refused),
    /// It wasn't reached, or no answer came that can be read.
    Lost,
}

/// Waits for the answer to a question.
pub(crate) async fn answer(call: impl Future<Output = Result<Bytes, CallError>>) -> Result<Bytes, Failed> {
    call.await.map_err(|error| match error {
        CallError::Refused(body) => decode(&body).map_or(Failed::Lost, Failed::Refused),
        CallError::Unreachable | CallError::Lost | CallError::Busy => Failed::Lost,
    })
}

/// Reads the answer.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    decode(body).map_err(|_| Failed::Lost)
}

/// How long to leave an owner alone that gave no answer so many times in a row. Not the same for all who ask.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(rand::random_range(10..=(20u64 << failures.min(5)).clamp(20, 400)))
}

/// Waits until something is due, for ever if nothing is.
pub(crate) async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The shard at a place of a list of all shards.
pub(crate) fn shard_at(at: usize) -> ShardId {
    ShardId(u16::try_from(at).unwrap_or(u16::MAX))
}

// === impl Failed ===

impl Failed {
    /// Takes in what a node that is not the owner says of who is.
    pub(crate) fn hint(&self, cluster: &Cluster, shard: ShardId) {
        if let Failed::Refused(Refused::NotOwner {
            owner: Some(owner),
            epoch,
        }) = self
        {
            cluster.hint(shard, NodeId(*owner), *epoch);
        }
    }
}
