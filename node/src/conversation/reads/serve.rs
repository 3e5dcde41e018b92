//! The owner's side: is the shard still mine, then read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use cluster::{Reply, ShardId};
use futures::future::join_all;
use protocol::{ConvId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::State;

use super::rows;
use crate::conversation::route::KEYS;
use crate::conversation::shared::Shared;
use crate::rpc::read::{
    Blocks, History, Index, IndexAfter, Members, Open, Range, SharedWith, Since, Summaries, Sync,
};
use crate::rpc::{self, Refused};

/// There is no cluster member yet that could know.
const UNKNOWN_OWNER: Refused = Refused::NotOwner {
    owner: None,
    epoch: 0,
};

/// Answers a question, later.
pub(crate) fn serve(shared: &Arc<Shared>, method: u16, body: Bytes, reply: Reply) {
    let Some(place) = shared.reads.place() else {
        return reply.send(Err(rpc::encode(&Refused::Busy)));
    };
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    runtime.spawn(async move {
        let _place = place;
        reply.send(
            answer(&shared, method, &body)
                .await
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}

async fn answer(shared: &Arc<Shared>, method: u16, body: &[u8]) -> Result<Bytes, Refused> {
    let cluster = shared.cluster().ok_or(UNKNOWN_OWNER)?;
    let of_conv = |conv: &ConvId| cluster.shard_of(conv.as_str().as_bytes());
    match method {
        rpc::OPEN => one(shared, body, |q: &Open| of_conv(&q.conv), rows::open).await,
        rpc::HISTORY => one(shared, body, |q: &History| of_conv(&q.conv), rows::history).await,
        rpc::MESSAGES => one(shared, body, |q: &History| of_conv(&q.conv), rows::messages).await,
        rpc::MEMBERS => one(shared, body, |q: &Members| of_conv(&q.conv), rows::members).await,
        rpc::BANS => one(shared, body, |q: &Members| of_conv(&q.conv), rows::bans).await,
        rpc::BLOCKS => {
            one(
                shared,
                body,
                |q: &Blocks| cluster.shard_of(q.user.as_str().as_bytes()),
                rows::blocks,
            )
            .await
        }
        rpc::KEYS => {
            one(
                shared,
                body,
                |(): &()| cluster.shard_of(KEYS.as_bytes()),
                |state, ()| rows::keyring(state),
            )
            .await
        }
        rpc::MISSED => one(shared, body, |q: &Since| of_conv(&q.conv), rows::missed).await,
        rpc::RANGE => one(shared, body, |q: &Range| of_conv(&q.conv), rows::range).await,
        rpc::INDEX => {
            one(
                shared,
                body,
                |q: &Index| cluster.shard_of(q.user.as_str().as_bytes()),
                rows::index,
            )
            .await
        }
        rpc::INDEX_AFTER => {
            one(
                shared,
                body,
                |q: &IndexAfter| cluster.shard_of(q.user.as_str().as_bytes()),
                rows::index_after,
            )
            .await
        }
        rpc::SHARED_WITH => {
            one(
                shared,
                body,
                |q: &SharedWith| cluster.shard_of(q.user.as_str().as_bytes()),
                rows::shared_with,
            )
            .await
        }
        rpc::WISHES => {
            one(
                shared,
                body,
                |user: &UserId| cluster.shard_of(user.as_str().as_bytes()),
                rows::wishes,
            )
            .await
        }
        rpc::SYNC => {
            each(
                shared,
                body,
                |q: &Sync| &q.wants,
                |(conv, _)| conv,
                |state, q, (conv, have)| rows::sync(state, conv, &q.user, *have, q.limit),
            )
            .await
        }
        rpc::SUMMARIES => {
            each(
                shared,
                body,
                |q: &Summaries| &q.convs,
                |conv| conv,
                |state, q, conv| rows::summary(state, conv, &q.user),
            )
            .await
        }
        rpc::MENTIONING => {
            each(
                shared,
                body,
                |q: &Summaries| &q.convs,
                |conv| conv,
                |state, q, conv| rows::mentioning(state, conv, &q.user),
            )
            .await
        }
        _ => Err(Refused::Bad(format!("method {method} is unknown"))),
    }
}

/// Answers a question about one shard.
async fn one<Q, A>(
    shared: &Arc<Shared>,
    body: &[u8],
    shard: impl FnOnce(&Q) -> ShardId,
    answer: impl FnOnce(&State, &Q) -> Result<A, Refused> + Send + 'static,
) -> Result<Bytes, Refused>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let question: Q = read(body)?;
    let state = readable(shared, shard(&question)).await?;
    let answer = shared.reads.run(move || answer(&state, &question)).await??;
    Ok(rpc::encode(&answer))
}

/// Answers a question about many conversations, in its order: each from the rows of its shard, or why these can't be read
/// here.
async fn each<Q, K, A>(
    shared: &Arc<Shared>,
    body: &[u8],
    items: fn(&Q) -> &[K],
    conv: fn(&K) -> &ConvId,
    answer: fn(&State, &Q, &K) -> Result<A, Refused>,
) -> Result<Bytes, Refused>
where
    Q: DeserializeOwned + Send + 'static,
    K: 'static,
    A: Serialize + Send + 'static,
{
    let cluster = shared.cluster().ok_or(UNKNOWN_OWNER)?;
    let question: Q = read(body)?;
    let shard = |item| cluster.shard_of(conv(item).as_str().as_bytes());
    let shards: Vec<ShardId> = items(&question).iter().map(shard).collect();
    let distinct: HashSet<ShardId> = shards.iter().copied().collect();
    let states = distinct
        .into_iter()
        .map(|shard| async move { (shard, readable(shared, shard).await) });
    let states: HashMap<ShardId, Result<State, Refused>> = join_all(states).await.into_iter().collect();
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

/// The rows of a shard, if this node owns it and all that was acknowledged is in them.
pub(crate) async fn readable(shared: &Arc<Shared>, shard: ShardId) -> Result<State, Refused> {
    let not_owner = || shared.not_owner(shard);
    let cluster = shared.cluster().ok_or_else(not_owner)?;
    let epoch = cluster.owned_epoch(shard).ok_or_else(not_owner)?;
    cluster.readable(shard, epoch).await.map_err(|_| not_owner())?;
    Ok(cluster.state(shard))
}

fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Refused> {
    rpc::decode(body).map_err(|error| Refused::Bad(error.to_string()))
}
