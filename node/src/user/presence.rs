//! Asks the owners of users' shards who is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use cluster::ShardId;
use futures::future::join_all;
use protocol::UserId;

use super::attendance::{Shown, shown};
use crate::conversation::answer::Refusal;
use crate::conversation::route::ask;
use crate::conversation::shared::Shared;
use crate::rpc;
use crate::rpc::presence::{Ask, Asked};

/// How a user stands, as `viewer` may know it.
pub(crate) async fn presence(shared: &Arc<Shared>, viewer: &UserId, user: &UserId) -> Result<Shown, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let question = Ask {
        shard: shard.0,
        viewer: Some(viewer.clone()),
        users: vec![user.clone()],
    };
    let found: Asked = ask(shared, shard, rpc::PRESENCE, &question).await?;
    let found = found.first().ok_or_else(Refusal::unavailable)?;
    Ok(shown(found.view.state, found.view.barred))
}

/// Whether `user` blocks `other`, as the user's shard knows it.
pub(crate) async fn blocks(shared: &Arc<Shared>, user: &UserId, other: &UserId) -> Result<bool, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let question = Ask {
        shard: shard.0,
        viewer: Some(other.clone()),
        users: vec![user.clone()],
    };
    let found: Asked = ask(shared, shard, rpc::PRESENCE, &question).await?;
    let found = found.first().ok_or_else(Refusal::unavailable)?;
    Ok(found.view.barred.is_some())
}

/// Whether each user has a connected session on any node, in the order asked; `None` where no owner could be reached.
/// One question per shard.
pub(crate) async fn live(shared: &Arc<Shared>, users: &[UserId]) -> Vec<Option<bool>> {
    let mut live = vec![None; users.len()];
    let Some(cluster) = shared.cluster() else {
        return live;
    };
    let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for (at, user) in users.iter().enumerate() {
        shards
            .entry(cluster.shard_of(user.as_str().as_bytes()))
            .or_default()
            .push(at);
    }
    let questions = shards.into_iter().map(|(shard, places)| async move {
        // A shard of this node is looked at without a question.
        let here = shared.active(shard).and_then(|active| {
            active.users.look(|known| {
                let found = || places.iter().map(|at| known.live(&users[*at])).collect();
                known.settled(Instant::now()).then(found)
            })
        });
        if here.is_some() {
            return (places, here);
        }
        let question = Ask {
            shard: shard.0,
            viewer: None,
            users: places.iter().map(|at| users[*at].clone()).collect(),
        };
        let found = ask::<_, Asked>(shared, shard, rpc::PRESENCE, &question)
            .await
            .ok();
        let found: Option<Vec<bool>> = found.map(|found| found.into_iter().map(|found| found.live).collect());
        (places, found)
    });
    for (places, found) in join_all(questions).await {
        for (at, found) in places.into_iter().zip(found.into_iter().flatten()) {
            live[at] = Some(found);
        }
    }
    live
}
