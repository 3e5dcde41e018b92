//! The owner's side: is the shard still mine, then read.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{Cluster, Reply, ShardId};
use protocol::UserId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::State;

use super::rows;
use crate::conversation::route::KEYS;
use crate::conversation::shared::Shared;
use crate::rpc::read::{
    Blocks, History, Index, IndexAfter, Members, Mentioning, Open, Range, SharedWith, Since, Summaries,
    Summarised, Sync, Synced,
};
use crate::rpc::{self, Refused};

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
    let cluster = shared.cluster().ok_or(Refused::NotOwner {
        owner: None,
        epoch: 0,
    })?;
    let of_conv = |conv: &protocol::ConvId| cluster.shard_of(conv.as_str().as_bytes());
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
            let question: Sync = read(body)?;
            let shards = owned(
                shared,
                cluster,
                question.wants.iter().map(|(conv, _)| of_conv(conv)),
            )
            .await;
            let parts: Vec<_> = question
                .wants
                .iter()
                .map(|(conv, _)| shards[&of_conv(conv)].clone())
                .collect();
            let synced: Synced = shared
                .reads
                .run(move || {
                    let wants = question.wants.iter().zip(parts);
                    wants
                        .map(|((conv, have), state)| {
                            rows::sync(&state?, conv, &question.user, *have, question.limit)
                        })
                        .collect()
                })
                .await?;
            Ok(rpc::encode(&synced))
        }
        rpc::SUMMARIES => {
            let question: Summaries = read(body)?;
            let shards = owned(shared, cluster, question.convs.iter().map(of_conv)).await;
            let parts: Vec<_> = question
                .convs
                .iter()
                .map(|conv| shards[&of_conv(conv)].clone())
                .collect();
            let rows: Summarised = shared
                .reads
                .run(move || {
                    let convs = question.convs.iter().zip(parts);
                    convs
                        .map(|(conv, state)| rows::summary(&state?, conv, &question.user))
                        .collect()
                })
                .await?;
            Ok(rpc::encode(&rows))
        }
        rpc::MENTIONING => {
            let question: Summaries = read(body)?;
            let shards = owned(shared, cluster, question.convs.iter().map(of_conv)).await;
            let parts: Vec<_> = question
                .convs
                .iter()
                .map(|conv| shards[&of_conv(conv)].clone())
                .collect();
            let found: Mentioning = shared
                .reads
                .run(move || {
                    let convs = question.convs.iter().zip(parts);
                    convs
                        .map(|(conv, state)| rows::mentioning(&state?, conv, &question.user))
                        .collect()
                })
                .await?;
            Ok(rpc::encode(&found))
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

/// The rows of each shard, or why they can't be read here.
async fn owned(
    shared: &Arc<Shared>,
    cluster: &Cluster,
    shards: impl Iterator<Item = ShardId>,
) -> HashMap<ShardId, Result<State, Refused>> {
    let mut known: Vec<ShardId> = shards.filter(|shard| shard.0 < cluster.shard_count()).collect();
    known.sort_unstable();
    known.dedup();
    let states = futures::future::join_all(known.iter().map(|shard| readable(shared, *shard))).await;
    known.into_iter().zip(states).collect()
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
