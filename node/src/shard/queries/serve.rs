//! Server side of queries: proves that this node owns the shard, then reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use cluster::{Responder, ShardId};
use futures::future::join_all;
use serde::de::DeserializeOwned;
use storage::ShardState;

use crate::rpc::{self, QueryMethod, QueryServer, RpcError};
use crate::shard::shard_deps::ShardDeps;
use crate::state_machine::query::{ScatterQuery, ShardQuery};

/// Refusal while the cluster member has not started.
const UNKNOWN_OWNER: RpcError = RpcError::NotOwner {
    owner: None,
    epoch: 0,
};

/// Serves a query in a task of its own; `Busy` above the bound of queries in progress.
pub(crate) fn serve(shared: &Arc<ShardDeps>, method: QueryMethod, body: Bytes, reply: Responder) {
    // Refused before the task starts, because queued queries hold memory.
    let Some(permit) = shared.reads.permit() else {
        return reply.send(Err(rpc::encode(&RpcError::Busy)));
    };
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    runtime.spawn(async move {
        // Held to the end: it counts the query also while the proof of ownership is under way.
        let _permit = permit;
        reply.send(
            method
                .serve(&shared, &body)
                .await
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}

// === impl QueryServer ===

impl QueryServer for Arc<ShardDeps> {
    async fn one<Q: ShardQuery>(&self, body: &[u8]) -> Result<Bytes, RpcError> {
        let question: Q = decode(body)?;
        let shard = self.client.cluster().ok_or(UNKNOWN_OWNER)?;
        let shard = shard.shard_of(&question.routing_key());
        let state = readable(self, shard).await?;
        // One view, so that the page reaches exactly up to the `last` that it names.
        let read = move || question.read(&state.view());
        Ok(rpc::encode(&self.reads.run(read).await??))
    }

    async fn each<Q: ScatterQuery>(&self, body: &[u8]) -> Result<Bytes, RpcError> {
        let cluster = self.client.cluster().ok_or(UNKNOWN_OWNER)?;
        let question: Q = decode(body)?;
        let shard = |item| cluster.shard_of(Q::routing_key(item));
        let shards: Vec<ShardId> = question.items().iter().map(shard).collect();
        let distinct: HashSet<ShardId> = shards.iter().copied().collect();
        let states = distinct
            .into_iter()
            .map(|shard| async move { (shard, readable(self, shard).await) });
        let states: HashMap<ShardId, Result<ShardState, RpcError>> =
            join_all(states).await.into_iter().collect();
        let answers = move || {
            let items = question.items().iter().zip(shards);
            // Refused one by one: a shard that moved must not fail the whole request.
            let answer = |(item, shard)| match &states[&shard] {
                Ok(state) => question.read(&state.view(), item).map_err(RpcError::from),
                Err(refused) => Err(refused.clone()),
            };
            items.map(answer).collect::<Vec<_>>()
        };
        Ok(rpc::encode(&self.reads.run(answers).await?))
    }
}

/// Returns the state of a shard, if this node owns it and every acknowledged write is in it.
pub(crate) async fn readable(shared: &Arc<ShardDeps>, shard: ShardId) -> Result<ShardState, RpcError> {
    let not_owner = || shared.client.not_owner(shard);
    let cluster = shared.client.cluster().ok_or_else(not_owner)?;
    let epoch = cluster.owned_epoch(shard).ok_or_else(not_owner)?;
    // The state is read after the proof, so it contains every write acknowledged before the query (decision 14).
    cluster.readable(shard, epoch).await.map_err(|_| not_owner())?;
    Ok(cluster.state(shard))
}

fn decode<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, RpcError> {
    rpc::decode(body).map_err(|error| RpcError::Bad(error.to_string()))
}
