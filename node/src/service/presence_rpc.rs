//! Presence requests of nodes to the owner of users' shards.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cluster::{NodeId, Responder, ShardId};
use protocol::UserId;
use storage::ShardState as Rows;

use crate::presence::RegistrationResponse;
use crate::rpc::presence::{
    Asked, ForgottenSessions, LastSessionQuery, PresenceHeartbeats, PresenceQuery, PresenceRegistered,
    PresenceResult, PresenceView, RegisterPresence, VersionedPresence,
};
use crate::rpc::{self, RpcError};
use crate::shard::readable;
use crate::shard::{ActiveShard, ShardDeps};
use crate::state_machine::{PresenceVisibility, query};

/// Maximum number of users per query.
const MOST: usize = 1_024;

/// Handles a request of [`rpc::REGISTER_PRESENCE`].
pub(crate) fn register(shared: &Arc<ShardDeps>, from: NodeId, body: &Bytes, reply: Responder) {
    let question: RegisterPresence = match rpc::decode(body) {
        Ok(question) => question,
        Err(error) => return refuse(reply, &RpcError::Bad(error.to_string())),
    };
    let active = match owned(shared, question.shard, question.epoch) {
        Ok(active) => active,
        Err(refused) => return refuse(reply, &refused),
    };
    let (now, now_ms) = (Instant::now(), shared.settings.clock.now_ms());
    let answer = active
        .users
        .send(|users| users.register(from, &question, now, now_ms));
    let Some(RegistrationResponse { sessions, watched }) = answer else {
        return refuse(reply, &RpcError::Unregistered);
    };
    if watched.is_empty() {
        let watched = Vec::new();
        return reply.send(Ok(rpc::encode(&PresenceRegistered { sessions, watched })));
    }
    // The watches are registered before the rows are read, so that no change of a block is missed between the two.
    let pairs = question
        .watched
        .into_iter()
        .map(|watch| (watch.user, watch.viewer));
    let pairs: Vec<(UserId, UserId)> = pairs.collect();
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    // Spawned: reading rows may wait for a pool thread, and this is a thread of the cluster.
    runtime.spawn(async move {
        let answer = views(&shared, ShardId(question.shard), pairs, watched).await;
        reply.send(match answer {
            Ok(watched) => Ok(rpc::encode(&PresenceRegistered { sessions, watched })),
            Err(refused) => Err(rpc::encode(&refused)),
        });
    });
}

/// Handles a request of [`rpc::PRESENCE_HEARTBEAT`].
pub(crate) fn heartbeat(shared: &Arc<ShardDeps>, from: NodeId, body: &Bytes, reply: Responder) {
    let heartbeats: PresenceHeartbeats = match rpc::decode(body) {
        Ok(heartbeats) => heartbeats,
        Err(error) => return refuse(reply, &RpcError::Bad(error.to_string())),
    };
    let now = Instant::now();
    // Only shards owned here under the named epoch are reported: for others the node learns of the new owner by its
    // route.
    let unknown = heartbeats.into_iter().filter(|(shard, epoch, registration)| {
        owned(shared, *shard, *epoch).is_ok_and(|active| {
            !active
                .users
                .look_mut(|users| users.heartbeat(from, *registration, now))
        })
    });
    let forgotten: ForgottenSessions = unknown.map(|(shard, _, _)| shard).collect();
    reply.send(Ok(rpc::encode(&forgotten)));
}

/// Handles a request of [`rpc::LAST_SESSION`].
pub(crate) fn last_session(shared: &Arc<ShardDeps>, body: &Bytes, reply: Responder) {
    let query: LastSessionQuery = match rpc::decode(body) {
        Ok(query) => query,
        Err(error) => return refuse(reply, &RpcError::Bad(error.to_string())),
    };
    let shard = ShardId(query.shard);
    let Some(active) = shared.active(shard) else {
        return refuse(reply, &shared.client.not_owner(shard));
    };
    let now = Instant::now();
    let (last, is_stable) = active.users.look(|users| {
        (
            users.last_session(&query.user, &query.device),
            users.is_stable(now),
        )
    });
    if last.is_none() && !is_stable {
        // The node of the session may not have registered it yet; the caller retries.
        return refuse(reply, &RpcError::Busy);
    }
    reply.send(Ok(rpc::encode(&last)));
}

/// Handles a request of [`rpc::PRESENCE`].
pub(crate) fn presence(shared: &Arc<ShardDeps>, body: &Bytes, reply: Responder) {
    let question: PresenceQuery = match rpc::decode(body) {
        Ok(question) => question,
        Err(error) => return refuse(reply, &RpcError::Bad(error.to_string())),
    };
    if question.users.len() > MOST {
        return refuse(reply, &RpcError::Bad("too many users at once".to_owned()));
    }
    let shard = ShardId(question.shard);
    let Some(active) = shared.active(shard) else {
        return refuse(reply, &shared.client.not_owner(shard));
    };
    let (now, now_ms) = (Instant::now(), shared.settings.clock.now_ms());
    let found: Vec<(bool, VersionedPresence)> = active.users.look(|users| {
        let asked = question.users.iter();
        asked
            .map(|user| (users.live(user), users.state(user, now, now_ms)))
            .collect()
    });
    let absent = found.iter().any(|(live, _)| !live);
    if absent && !active.users.look(|users| users.is_stable(now)) {
        // The user's node may not have registered yet; the caller retries.
        return refuse(reply, &RpcError::Busy);
    }
    let Some(viewer) = question.viewer else {
        let found: Asked = found
            .into_iter()
            .map(|(live, state)| PresenceResult {
                live,
                view: PresenceView { state, blocked: None },
            })
            .collect();
        return reply.send(Ok(rpc::encode(&found)));
    };
    let (live, states): (Vec<bool>, Vec<VersionedPresence>) = found.into_iter().unzip();
    let pairs: Vec<_> = question
        .users
        .into_iter()
        .map(|user| (user, viewer.clone()))
        .collect();
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    runtime.spawn(async move {
        let views = views(&shared, shard, pairs, states).await;
        reply.send(match views {
            Ok(views) => {
                let found = live
                    .into_iter()
                    .zip(views)
                    .map(|(live, view)| PresenceResult { live, view });
                Ok(rpc::encode(&found.collect::<Asked>()))
            }
            Err(refused) => Err(rpc::encode(&refused)),
        });
    });
}

/// Combines each state with the rows on the user and the viewer.
async fn views(
    shared: &Arc<ShardDeps>,
    shard: ShardId,
    pairs: Vec<(UserId, UserId)>,
    states: Vec<VersionedPresence>,
) -> Result<Vec<PresenceView>, RpcError> {
    // The read is confirmed by a majority, so a block acknowledged before the query applies even if the owner has
    // changed.
    let rows: Rows = readable(shared, shard).await?;
    let standings = shared.reads.run(move || {
        let view = rows.view();
        let standings = pairs
            .iter()
            .map(|(user, viewer)| query::standing(&view, user, viewer));
        standings.collect::<Result<Vec<PresenceVisibility>, _>>()
    });
    let standings = standings
        .await?
        .map_err(|error| RpcError::Failed(error.to_string()))?;
    let views = states
        .into_iter()
        .zip(standings)
        .map(|(state, PresenceVisibility { seen, blocked })| PresenceView {
            state: VersionedPresence {
                // The registry is newer than the rows if it has a time at all.
                seen: state.seen.or(seen),
                ..state
            },
            blocked,
        });
    Ok(views.collect())
}

/// Returns the registry of a shard that this node owns under `epoch`.
fn owned(shared: &Arc<ShardDeps>, shard: u16, epoch: u64) -> Result<ActiveShard, RpcError> {
    let shard = ShardId(shard);
    match shared.active(shard) {
        // A registration belongs to one epoch: the registry of a later one starts empty.
        Some(active) if active.epoch == epoch => Ok(active),
        Some(active) => Err(RpcError::NotOwner {
            owner: shared.client.cluster().map(|cluster| cluster.node_id().0),
            epoch: active.epoch,
        }),
        None => Err(shared.client.not_owner(shard)),
    }
}

fn refuse(reply: Responder, refused: &RpcError) {
    reply.send(Err(rpc::encode(refused)));
}
