//! Server side of queries: proves that this node owns the shard, then reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use cluster::{Responder, ShardId};
use futures::future::join_all;
use protocol::{ConversationId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::ShardState;

use super::rows;
use crate::rpc::login::DevicesQuery;
use crate::rpc::read::{
    HistoryRequest, IndexAfter, IndexQuery, ListBlocks, MembersQuery, OpenQuery, RangeQuery, SharedWith,
    SinceQuery, SummariesQuery, SyncQuery,
};
use crate::rpc::{self, QueryMethod, RpcError};
use crate::shard::shard_deps::ShardDeps;
use crate::state_machine::LoginKey;

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
            answer(&shared, method, &body)
                .await
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}

async fn answer(shared: &Arc<ShardDeps>, method: QueryMethod, body: &[u8]) -> Result<Bytes, RpcError> {
    let cluster = shared.client.cluster().ok_or(UNKNOWN_OWNER)?;
    let of_conv = |conv: &ConversationId| cluster.shard_of(conv);
    match method {
        QueryMethod::Open => one(shared, body, |q: &OpenQuery| of_conv(&q.conv), rows::open).await,
        QueryMethod::History => one(shared, body, |q: &HistoryRequest| of_conv(&q.conv), rows::history).await,
        QueryMethod::Messages => {
            one(
                shared,
                body,
                |q: &HistoryRequest| of_conv(&q.conv),
                rows::messages,
            )
            .await
        }
        QueryMethod::Members => one(shared, body, |q: &MembersQuery| of_conv(&q.conv), rows::members).await,
        QueryMethod::Bans => one(shared, body, |q: &MembersQuery| of_conv(&q.conv), rows::bans).await,
        QueryMethod::Blocks => {
            one(
                shared,
                body,
                |q: &ListBlocks| cluster.shard_of(&q.user),
                rows::blocks,
            )
            .await
        }
        QueryMethod::Keys => {
            one(
                shared,
                body,
                |(): &()| cluster.shard_of(&LoginKey::Keyring.routing()),
                |state, ()| rows::keyring(state),
            )
            .await
        }
        QueryMethod::Devices => {
            one(
                shared,
                body,
                |q: &DevicesQuery| cluster.shard_of(&q.user),
                rows::devices,
            )
            .await
        }
        QueryMethod::Missed => one(shared, body, |q: &SinceQuery| of_conv(&q.conv), rows::missed).await,
        QueryMethod::Range => one(shared, body, |q: &RangeQuery| of_conv(&q.conv), rows::range).await,
        QueryMethod::Index => {
            one(
                shared,
                body,
                |q: &IndexQuery| cluster.shard_of(&q.user),
                rows::index,
            )
            .await
        }
        QueryMethod::IndexAfter => {
            one(
                shared,
                body,
                |q: &IndexAfter| cluster.shard_of(&q.user),
                rows::index_after,
            )
            .await
        }
        QueryMethod::SharedWith => {
            one(
                shared,
                body,
                |q: &SharedWith| cluster.shard_of(&q.user),
                rows::shared_with,
            )
            .await
        }
        QueryMethod::Wishes => one(shared, body, |user: &UserId| cluster.shard_of(user), rows::wishes).await,
        QueryMethod::Sync => {
            each(
                shared,
                body,
                |q: &SyncQuery| &q.wants,
                |(conv, _)| conv,
                |state, q, (conv, have)| rows::sync(state, conv, &q.user, *have, q.limit),
            )
            .await
        }
        QueryMethod::Summaries => {
            each(
                shared,
                body,
                |q: &SummariesQuery| &q.convs,
                |conv| conv,
                |state, q, conv| rows::summary(state, conv, &q.user),
            )
            .await
        }
        QueryMethod::Mentioning => {
            each(
                shared,
                body,
                |q: &SummariesQuery| &q.convs,
                |conv| conv,
                |state, q, conv| rows::mentioning(state, conv, &q.user),
            )
            .await
        }
    }
}

/// Serves a query about one shard.
async fn one<Q, A>(
    shared: &Arc<ShardDeps>,
    body: &[u8],
    shard: impl FnOnce(&Q) -> ShardId,
    answer: impl FnOnce(&ShardState, &Q) -> Result<A, RpcError> + Send + 'static,
) -> Result<Bytes, RpcError>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let question: Q = read(body)?;
    let state = readable(shared, shard(&question)).await?;
    let answer = shared.reads.run(move || answer(&state, &question)).await??;
    Ok(rpc::encode(&answer))
}

/// Answers a query about many conversations in the order of its items. Each item is refused on its own, so one moved
/// shard does not fail the whole request.
async fn each<Q, K, A>(
    shared: &Arc<ShardDeps>,
    body: &[u8],
    items: fn(&Q) -> &[K],
    conv: fn(&K) -> &ConversationId,
    answer: fn(&ShardState, &Q, &K) -> Result<A, RpcError>,
) -> Result<Bytes, RpcError>
where
    Q: DeserializeOwned + Send + 'static,
    K: 'static,
    A: Serialize + Send + 'static,
{
    let cluster = shared.client.cluster().ok_or(UNKNOWN_OWNER)?;
    let question: Q = read(body)?;
    let shard = |item| cluster.shard_of(conv(item));
    let shards: Vec<ShardId> = items(&question).iter().map(shard).collect();
    let distinct: HashSet<ShardId> = shards.iter().copied().collect();
    let states = distinct
        .into_iter()
        .map(|shard| async move { (shard, readable(shared, shard).await) });
    let states: HashMap<ShardId, Result<ShardState, RpcError>> = join_all(states).await.into_iter().collect();
    let answers = move || {
        let items = items(&question).iter().zip(shards);
        let answer = |(item, shard)| match &states[&shard] {
            Ok(state) => answer(state, &question, item),
            Err(refused) => Err(refused.clone()),
        };
        items.map(answer).collect::<Vec<_>>()
    };
    Ok(rpc::encode(&shared.reads.run(answers).await?))
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

fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, RpcError> {
    rpc::decode(body).map_err(|error| RpcError::Bad(error.to_string()))
}
