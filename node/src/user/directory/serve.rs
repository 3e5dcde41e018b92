//! What nodes say to the owner of users' shards, and what they ask.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cluster::{NodeId, Reply, ShardId};
use protocol::UserId;
use storage::State as Rows;

use super::Answer;
use crate::conversation::reads::serve::readable;
use crate::conversation::shared::{Active, Shared};
use crate::conversation::timeline::read::{self, Standing};
use crate::rpc::presence::{Ask, Asked, Attend, Attended, Beats, Forgotten, Found, State, View};
use crate::rpc::{self, Refused};

/// Users of one question.
const MOST: usize = 1_024;

/// [`rpc::ATTEND`].
pub(crate) fn attend(shared: &Arc<Shared>, from: NodeId, body: &Bytes, reply: Reply) {
    let question: Attend = match rpc::decode(body) {
        Ok(question) => question,
        Err(error) => return refuse(reply, &Refused::Bad(error.to_string())),
    };
    let active = match owned(shared, question.shard, question.epoch) {
        Ok(active) => active,
        Err(refused) => return refuse(reply, &refused),
    };
    let (now, now_ms) = (Instant::now(), shared.settings.clock.now_ms());
    let answer = active
        .users
        .tell(|users| users.attend(from, &question, now, now_ms));
    let Some(Answer { seats, watched }) = answer else {
        return refuse(reply, &Refused::Unregistered);
    };
    if watched.is_empty() {
        let watched = Vec::new();
        return reply.send(Ok(rpc::encode(&Attended { seats, watched })));
    }
    // What the node watches is noted before the rows are read: no change falls between the two.
    let pairs = question
        .watched
        .into_iter()
        .map(|watch| (watch.user, watch.viewer));
    let pairs: Vec<(UserId, UserId)> = pairs.collect();
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    runtime.spawn(async move {
        let answer = views(&shared, ShardId(question.shard), pairs, watched).await;
        reply.send(match answer {
            Ok(watched) => Ok(rpc::encode(&Attended { seats, watched })),
            Err(refused) => Err(rpc::encode(&refused)),
        });
    });
}

/// [`rpc::BEAT`].
pub(crate) fn beat(shared: &Arc<Shared>, from: NodeId, body: &Bytes, reply: Reply) {
    let beats: Beats = match rpc::decode(body) {
        Ok(beats) => beats,
        Err(error) => return refuse(reply, &Refused::Bad(error.to_string())),
    };
    let now = Instant::now();
    let unknown = beats.into_iter().filter(|(shard, epoch, registration)| {
        owned(shared, *shard, *epoch).is_ok_and(|active| {
            !active
                .users
                .look_mut(|users| users.beat(from, *registration, now))
        })
    });
    let forgotten: Forgotten = unknown.map(|(shard, _, _)| shard).collect();
    reply.send(Ok(rpc::encode(&forgotten)));
}

/// [`rpc::PRESENCE`].
pub(crate) fn presence(shared: &Arc<Shared>, body: &Bytes, reply: Reply) {
    let question: Ask = match rpc::decode(body) {
        Ok(question) => question,
        Err(error) => return refuse(reply, &Refused::Bad(error.to_string())),
    };
    if question.users.len() > MOST {
        return refuse(reply, &Refused::Bad("too many users at once".to_owned()));
    }
    let shard = ShardId(question.shard);
    let Some(active) = shared.active(shard) else {
        return refuse(reply, &shared.not_owner(shard));
    };
    let (now, now_ms) = (Instant::now(), shared.settings.clock.now_ms());
    let found: Vec<(bool, State)> = active.users.look(|users| {
        let asked = question.users.iter();
        asked
            .map(|user| (users.live(user), users.state(user, now, now_ms)))
            .collect()
    });
    let absent = found.iter().any(|(live, _)| !live);
    if absent && !active.users.look(|users| users.settled(now)) {
        // The user's node may not have spoken yet; the one who asks asks again.
        return refuse(reply, &Refused::Busy);
    }
    let Some(viewer) = question.viewer else {
        let found: Asked = found
            .into_iter()
            .map(|(live, state)| Found {
                live,
                view: View { state, barred: None },
            })
            .collect();
        return reply.send(Ok(rpc::encode(&found)));
    };
    let (live, states): (Vec<bool>, Vec<State>) = found.into_iter().unzip();
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
                    .map(|(live, view)| Found { live, view });
                Ok(rpc::encode(&found.collect::<Asked>()))
            }
            Err(refused) => Err(rpc::encode(&refused)),
        });
    });
}

/// Adds to each state what the rows know of the user and the viewer.
async fn views(
    shared: &Arc<Shared>,
    shard: ShardId,
    pairs: Vec<(UserId, UserId)>,
    states: Vec<State>,
) -> Result<Vec<View>, Refused> {
    // Who was blocked before the question is not shown, whoever owns the shard meanwhile.
    let rows: Rows = readable(shared, shard).await?;
    let standings = shared.reads.run(move || {
        let view = rows.view();
        let standings = pairs
            .iter()
            .map(|(user, viewer)| read::standing(&view, user, viewer));
        standings.collect::<Result<Vec<Standing>, _>>()
    });
    let standings = standings
        .await?
        .map_err(|error| Refused::Failed(error.to_string()))?;
    let views = states
        .into_iter()
        .zip(standings)
        .map(|(state, Standing { seen, barred })| View {
            state: State {
                seen: state.seen.or(seen),
                ..state
            },
            barred,
        });
    Ok(views.collect())
}

/// The directory of a shard that this node owns under that epoch.
fn owned(shared: &Arc<Shared>, shard: u16, epoch: u64) -> Result<Active, Refused> {
    let shard = ShardId(shard);
    match shared.active(shard) {
        Some(active) if active.epoch == epoch => Ok(active),
        Some(active) => Err(Refused::NotOwner {
            owner: shared.cluster().map(|cluster| cluster.node_id().0),
            epoch: active.epoch,
        }),
        None => Err(shared.not_owner(shard)),
    }
}

fn refuse(reply: Reply, refused: &Refused) {
    reply.send(Err(rpc::encode(refused)));
}
