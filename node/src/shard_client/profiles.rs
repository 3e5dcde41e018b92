//! Profiles of users, which are rows of the users' shards.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::command::UpdateProfile;
use protocol::response::UserProfile;
use protocol::{CustomData, FieldPatch, UserId};

use super::command_error::CommandError;
use super::queries::malformed;
use super::scatter;
use crate::shard_client::ClientContext;
use crate::state_machine::UserOp;
use crate::state_machine::query::{ProfilesQuery, StoredProfile};

/// Returns the profiles in the order of the ids, each once. Those whose shard owner can't be reached are left out.
pub(crate) async fn profiles(shared: &Arc<ClientContext>, ids: Vec<UserId>) -> Vec<UserProfile> {
    let mut seen = HashSet::new();
    let ids = ids.into_iter().filter(|id| seen.insert(id.clone()));
    let question = ProfilesQuery {
        users: ids.map(|id| (id, 0)).collect(),
        with_data: true,
    };
    let found = scatter(shared, &question).await;
    let found = question.users.into_iter().zip(found);
    let page = found.filter_map(|((user, _), found)| page(user, found?.ok()?.unwrap_or_default()).ok());
    page.collect()
}

/// Returns the profile of one user.
pub(crate) async fn profile(shared: &Arc<ClientContext>, user: &UserId) -> Result<UserProfile, CommandError> {
    let question = ProfilesQuery {
        users: vec![(user.clone(), 0)],
        with_data: true,
    };
    match scatter(shared, &question).await.pop() {
        Some(Some(Ok(stored))) => page(user.clone(), stored.unwrap_or_default()).map_err(malformed),
        Some(Some(Err(refused))) => Err(CommandError::of_query(refused)),
        Some(None) | None => Err(CommandError::unavailable()),
    }
}

/// Converts a merge patch to the change of the state machine, in which an empty text removes.
pub(crate) fn change(patch: &UpdateProfile) -> UserOp {
    UserOp::PutProfile {
        name: text(&patch.name, String::as_str),
        avatar: text(&patch.avatar, String::as_str),
        data: text(&patch.data, CustomData::as_str),
    }
}

fn text<T>(patch: &FieldPatch<T>, of: impl Fn(&T) -> &str) -> Option<Box<str>> {
    match patch {
        FieldPatch::Keep => None,
        FieldPatch::Remove => Some("".into()),
        FieldPatch::Set(value) => Some(of(value).into()),
    }
}

/// Returns the protocol's form. The error is stored data that is no JSON object.
fn page(user: UserId, stored: StoredProfile) -> Result<UserProfile, String> {
    Ok(UserProfile {
        user,
        name: stored.name.map(String::from),
        avatar: stored.avatar.map(String::from),
        data: stored.data.map(CustomData::new).transpose()?,
        version: stored.ver,
    })
}
