//! Presence queries to the owners of users' shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::ShardId;
use futures::future::join_all;
use protocol::UserId;

use super::command_error::CommandError;
use super::queries::ask;
use crate::rpc;
use crate::rpc::presence::{
    Asked, LastSession, LastSessionQuery, PresenceQuery, VisiblePresence, visible_to,
};
use crate::shard_client::ClientContext;

/// Returns the presence of `user` as visible to `viewer`.
pub(crate) async fn presence(
    shared: &Arc<ClientContext>,
    viewer: &UserId,
    user: &UserId,
) -> Result<VisiblePresence, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user);
    let question = PresenceQuery {
        shard: shard.0,
        viewer: Some(viewer.clone()),
        users: vec![user.clone()],
    };
    let found: Asked = ask(shared, shard, rpc::PRESENCE, &question).await?;
    let found = found.first().ok_or_else(CommandError::unavailable)?;
    Ok(visible_to(found.view))
}

/// Returns the last session of a device of `user`.
pub(crate) async fn last_session(
    shared: &Arc<ClientContext>,
    user: &UserId,
    device: &str,
) -> Result<Option<LastSession>, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user);
    let query = LastSessionQuery {
        shard: shard.0,
        user: user.clone(),
        device: device.to_owned(),
    };
    ask(shared, shard, rpc::LAST_SESSION, &query).await
}

/// Returns true if `user` blocks `other`, according to the user's shard.
pub(crate) async fn blocks(
    shared: &Arc<ClientContext>,
    user: &UserId,
    other: &UserId,
) -> Result<bool, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(user);
    let question = PresenceQuery {
        shard: shard.0,
        viewer: Some(other.clone()),
        users: vec![user.clone()],
    };
    let found: Asked = ask(shared, shard, rpc::PRESENCE, &question).await?;
    let found = found.first().ok_or_else(CommandError::unavailable)?;
    Ok(found.view.blocked.is_some())
}

/// Returns the presence of each user in the given order, without regard to blocks; `None` if no owner was reached. One
/// query per shard.
pub(crate) async fn of_all(shared: &Arc<ClientContext>, users: &[UserId]) -> Vec<Option<VisiblePresence>> {
    let mut visible = vec![None; users.len()];
    let Some(cluster) = shared.cluster() else {
        return visible;
    };
    let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for (at, user) in users.iter().enumerate() {
        shards.entry(cluster.shard_of(user)).or_default().push(at);
    }
    let questions = shards.into_iter().map(|(shard, positions)| async move {
        let question = PresenceQuery {
            shard: shard.0,
            viewer: None,
            users: positions.iter().map(|at| users[*at].clone()).collect(),
        };
        let found = ask::<_, Asked>(shared, shard, rpc::PRESENCE, &question).await;
        (positions, found.unwrap_or_default())
    });
    for (positions, found) in join_all(questions).await {
        for (at, found) in positions.into_iter().zip(found) {
            visible[at] = Some(visible_to(found.view));
        }
    }
    visible
}

/// Returns, per user in the given order, true if the user has a connected session on any node; `None` if no owner was
/// reached. One query per shard.
pub(crate) async fn live(shared: &Arc<ClientContext>, users: &[UserId]) -> Vec<Option<bool>> {
    let mut live = vec![None; users.len()];
    let Some(cluster) = shared.cluster() else {
        return live;
    };
    let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for (at, user) in users.iter().enumerate() {
        shards.entry(cluster.shard_of(user)).or_default().push(at);
    }
    let questions = shards.into_iter().map(|(shard, positions)| async move {
        // A shard owned here is read directly; one whose registry is not complete yet is queried with retries.
        let asked: Vec<&UserId> = positions.iter().map(|at| &users[*at]).collect();
        let here = shared.local().and_then(|local| local.live(shard, &asked));
        if here.is_some() {
            return (positions, here);
        }
        let question = PresenceQuery {
            shard: shard.0,
            viewer: None,
            users: positions.iter().map(|at| users[*at].clone()).collect(),
        };
        let found = ask::<_, Asked>(shared, shard, rpc::PRESENCE, &question)
            .await
            .ok();
        let found: Option<Vec<bool>> = found.map(|found| found.into_iter().map(|found| found.live).collect());
        (positions, found)
    });
    for (positions, found) in join_all(questions).await {
        for (at, found) in positions.into_iter().zip(found.into_iter().flatten()) {
            live[at] = Some(found);
        }
    }
    live
}
