//! Exclusion of mentions by blocked users.
//!
//! The shard of a group has no access to block lists, so it counts every mention. For a user with a non-zero count,
//! this module reads the user's block list and then the authors of the mentions. Users without blocks cost one read of
//! an empty list, and only while a mention is unread.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::response::ConversationListItem;
use protocol::{ConversationId, UserId};

use super::command_error::CommandError;
use super::queries::query;
use super::scatter;
use crate::shard_client::ClientContext;
use crate::state_machine::query::{BlocksQuery, MentioningQuery};

/// Removes mentions by users whom `user` blocks from the counts. If they cannot be determined now, the counts stay.
pub(crate) async fn without_blocked(
    shared: &Arc<ClientContext>,
    user: &UserId,
    items: &mut [ConversationListItem],
) {
    let mentioned: Vec<ConversationId> = items
        .iter()
        .filter(|item| item.mentions > 0)
        .map(|item| item.conversation.clone())
        .collect();
    if mentioned.is_empty() {
        return;
    }
    let blocked = match blocked(shared, user).await {
        // An error leaves the counts as they are: the list is more important than an exact number.
        Ok(blocked) if !blocked.is_empty() => blocked,
        _ => return,
    };
    let question = MentioningQuery {
        user: user.clone(),
        convs: mentioned,
    };
    let found = scatter(shared, &question).await;
    for (conv, authors) in question.convs.iter().zip(found) {
        let item = items.iter_mut().find(|item| item.conversation == *conv);
        // A conversation whose owner did not respond keeps its count.
        if let (Some(item), Some(Ok(authors))) = (item, authors) {
            let counts = authors.iter().filter(|author| !blocked.contains(*author));
            item.mentions = counts.count() as u64;
        }
    }
}

/// Returns all users whom the user blocks.
async fn blocked(shared: &Arc<ClientContext>, user: &UserId) -> Result<HashSet<UserId>, CommandError> {
    let (mut all, mut after) = (HashSet::new(), None);
    loop {
        let question = BlocksQuery {
            user: user.clone(),
            after,
            limit: u32::try_from(protocol::limits::PAGE).unwrap_or(u32::MAX),
        };
        let page = query(shared, &question).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
