//! Profiles of users, which are rows of the users' shards.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::command::UpdateProfile;
use protocol::response::{UserCard, UserCards, UserProfile};
use protocol::{CustomData, UserId};

use super::command_error::CommandError;
use super::queries::malformed;
use super::scatter;
use super::scatter_gather::scatter_within;
use crate::shard_client::ClientContext;
use crate::state_machine::UserOp;
use crate::state_machine::query::{ProfilesQuery, StoredProfile};

/// Maximum number of users in a side table.
const CARDS: usize = 256;
/// Time that a response waits for the profiles of its side table. A name that is missing is shown with the next one, so
/// a slow shard must not delay the list.
const CARDS_TIMEOUT: Duration = Duration::from_millis(250);

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

/// Returns the profiles of at most [`CARDS`] users for the side table of a response, with one question per node. Users
/// without a profile are left out, and those whose shard owner doesn't answer in time and who are not cached.
pub(crate) async fn cards(shared: &Arc<ClientContext>, users: BTreeSet<UserId>) -> UserCards {
    if users.is_empty() {
        return UserCards::new();
    }
    let question = {
        let cache = shared.profiles.lock();
        let known = |user: UserId| {
            let version = cache.get(&user).map_or(0, |card| card.version);
            (user, version)
        };
        ProfilesQuery {
            users: users.into_iter().take(CARDS).map(known).collect(),
            with_data: false,
        }
    };
    // Asked each time: the next response after a change has the change, whichever node gives it.
    let found = scatter_within(shared, &question, CARDS_TIMEOUT).await;
    let mut cache = shared.profiles.lock();
    let mut cards = UserCards::new();
    for ((user, _), found) in question.users.into_iter().zip(found) {
        if let Some(Ok(Some(stored))) = found {
            let card = UserCard {
                name: stored.name.map(String::from),
                avatar: stored.avatar.map(String::from),
                version: stored.ver,
            };
            cache.put(&user, &card);
            cards.insert(user, card);
        } else if let Some(card) = cache.get(&user) {
            // Unchanged, or the owner did not answer; then an outdated name is better than none.
            cards.insert(user, card.clone());
        }
    }
    cards
}

/// Converts a merge patch to the change of the state machine.
pub(crate) fn change(patch: &UpdateProfile) -> UserOp {
    UserOp::PutProfile {
        name: patch.name.change(String::as_str),
        avatar: patch.avatar.change(String::as_str),
        data: patch.data.change(CustomData::as_str),
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
