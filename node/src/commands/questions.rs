//! Queries: `list`, `hist`, `sync`, `members`, and messages in their present state. `open` is a single
//! [`ShardClient::open`], after which a session also subscribes.

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use protocol::answer::{
    ConversationList, ConversationMember, HistoryResponse as Page, MembersResponse as MembersOf,
    SyncResponse, SyncResponseItem,
};
use protocol::command::{GetHistory, ListConversations, ListMembers, SyncRequest};
use protocol::limits::SYNC_HAVE;
use protocol::rest::{BanEntryRow, BanList, BlockList, MessagePage};
use protocol::{ConversationId, ErrorCode, UserId, limits};

use crate::shard_client::{CommandError, ShardClient, SyncItem};
use crate::state_machine::IndexPage;

/// Conversations of a sync that are read concurrently. Bounds the memory beyond the configured size, as each may return
/// fifty of the largest messages.
const SYNC_AT_ONCE: usize = 16;
/// Conversations on a later page of a sync if `have` names fewer.
const SYNC_NAMED: usize = 50;
/// Conversations on the first page of a sync if `have` names fewer: one round of reads keeps it fast.
const SYNC_FIRST: usize = SYNC_AT_ONCE;

/// Bytes of one sync response after which the rest is left for the next page.
const SYNC_BYTES: usize = 1 << 20;

/// Executes `list`: returns a page of the user's conversation list.
///
/// # Errors
/// A malformed cursor, or an unreachable shard.
pub async fn list(
    conversations: &ShardClient,
    user: &UserId,
    list: ListConversations,
) -> Result<ConversationList, CommandError> {
    let limit = limits::page(list.limit);
    conversations.inbox(user, list.cursor, limit).await
}

/// Executes `hist`: returns a page of a conversation's log.
///
/// # Errors
/// The owner's refusal.
pub async fn history(
    conversations: &ShardClient,
    user: &UserId,
    hist: GetHistory,
) -> Result<Page, CommandError> {
    let limit = limits::page(hist.limit);
    let GetHistory {
        conversation: c,
        before,
        after,
        ..
    } = hist;
    let page = conversations.history(user, &c, before, after, limit).await?;
    Ok(Page {
        conversation: c,
        events: page.events,
        more: page.more,
        gap: page.gap,
    })
}

/// Returns the window of [`history`] as messages in their present state, for clients that keep no log.
///
/// # Errors
/// The owner's refusal.
pub async fn messages(
    conversations: &ShardClient,
    user: &UserId,
    hist: GetHistory,
) -> Result<MessagePage, CommandError> {
    let limit = limits::page(hist.limit);
    let GetHistory {
        conversation: c,
        before,
        after,
        ..
    } = hist;
    conversations.messages(user, &c, before, after, limit).await
}

/// Sessions of this node, for a query that must not overtake their subscriptions.
pub trait FollowingSessions {
    /// Waits until the user's new sessions on this node are subscribed to those of `convs` that they are about to
    /// follow.
    ///
    /// # Errors
    /// `unavailable` after a timeout, for example while the shard has no owner.
    fn all_follow(
        &self,
        user: &UserId,
        convs: &[ConversationId],
    ) -> impl Future<Output = Result<(), CommandError>>;
}

/// Executes `sync`: returns a page of missed events. The positions are read after the user's sessions on this node have
/// subscribed to the page's conversations. No event can fall between the two.
///
/// # Errors
/// A malformed cursor, or an unreachable conversation: a partial response would pass for a complete one.
pub async fn sync(
    conversations: &ShardClient,
    sessions: &impl FollowingSessions,
    user: &UserId,
    sync: SyncRequest,
) -> Result<SyncResponse, CommandError> {
    let after = sync.cursor.as_deref().map(ConversationId::parse).transpose();
    let after = after.map_err(|_| CommandError::new(ErrorCode::BadRequest, "unknown cursor"))?;
    // A full `have` may leave out further conversations of the client, see `plan`.
    let full = sync.have.len() >= SYNC_HAVE;
    let named = if after.is_some() { SYNC_NAMED } else { SYNC_FIRST };
    let most = sync.have.len().max(named).min(SYNC_HAVE);
    let index = conversations.index(user, after.clone(), most).await?;
    let (wants, mut next) = plan(sync.have, full, after.as_ref(), index, most);
    let convs: Vec<ConversationId> = wants.iter().map(|(conv, _)| conv.clone()).collect();
    // Subscribed before the read: an event in between would be in neither the response nor the stream.
    sessions.all_follow(user, &convs).await?;
    let mut items = Vec::new();
    let mut bytes = 0;
    for wants in wants.chunks(SYNC_AT_ONCE) {
        // Checked per chunk and after the first: every page makes progress, and the rest is left to the next page.
        if bytes > SYNC_BYTES {
            next = items.last().map(|item: &SyncItem| item.conv.as_str().to_owned());
            break;
        }
        let mut found = missed(conversations, user, wants.to_vec()).await?;
        // In the order of ids, because the cursor of the next page is the last id.
        found.sort_by(|a, b| a.conv.cmp(&b.conv));
        bytes += found
            .iter()
            .flat_map(|item| &item.events)
            .map(|event| event.as_str().len())
            .sum::<usize>();
        items.extend(found);
    }
    // Positions of all conversations, also of those without missed events: live events continue from them.
    let as_of = items.iter().map(|item| (item.conv.clone(), item.as_of)).collect();
    let items = items
        .into_iter()
        .filter(|item| item.gap || !item.events.is_empty())
        .map(|item| SyncResponseItem {
            conversation: item.conv,
            events: item.events,
            gap: item.gap,
        })
        .collect();
    Ok(SyncResponse { as_of, items, next })
}

/// Executes `members`: returns a page of a conversation's members.
///
/// # Errors
/// A malformed cursor, or the owner's refusal.
pub async fn members(
    conversations: &ShardClient,
    user: &UserId,
    question: ListMembers,
) -> Result<MembersOf, CommandError> {
    let ListMembers {
        conversation: c,
        cursor,
        limit,
    } = question;
    let after = after(cursor)?;
    let found = conversations
        .members(user, &c, after, limits::page(limit))
        .await?;
    let items = found.items.into_iter().map(|member| ConversationMember {
        user: member.user,
        role: member.role,
        delivered: member.cursors.map(|cursors| cursors.delivered),
        read: member.cursors.map(|cursors| cursors.read),
    });
    Ok(MembersOf {
        items: items.collect(),
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// Returns a page of a conversation's banned users.
///
/// # Errors
/// A malformed cursor, or the owner's refusal.
pub async fn bans(
    conversations: &ShardClient,
    user: &UserId,
    question: ListMembers,
) -> Result<BanList, CommandError> {
    let ListMembers {
        conversation: c,
        cursor,
        limit,
    } = question;
    let after = after(cursor)?;
    let found = conversations.bans(user, &c, after, limits::page(limit)).await?;
    let items = found.items.into_iter().map(|ban| BanEntryRow {
        user: ban.user,
        banned_by: ban.by,
        timestamp_ms: ban.at_ms,
    });
    Ok(BanList {
        items: items.collect(),
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// Returns a page of the users whom `user` blocks. A change is in force shortly before it is listed.
///
/// # Errors
/// A malformed cursor, or an unreachable shard.
pub async fn blocks(
    conversations: &ShardClient,
    user: &UserId,
    question: ListConversations,
) -> Result<BlockList, CommandError> {
    let ListConversations { cursor, limit } = question;
    let after = after(cursor)?;
    let found = conversations.blocks(user, after, limits::page(limit)).await?;
    Ok(BlockList {
        items: found.items,
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// Parses a cursor: the id of the user behind whom the page begins.
fn after(cursor: Option<String>) -> Result<Option<UserId>, CommandError> {
    let after = cursor.map(|cursor| UserId::parse(&cursor)).transpose();
    after.map_err(|_| CommandError::new(ErrorCode::BadRequest, "unknown cursor"))
}

/// Returns the missed events. A conversation is left out only if the user is no member; an unreachable one fails the
/// whole query.
async fn missed(
    conversations: &ShardClient,
    user: &UserId,
    wants: Vec<(ConversationId, u64)>,
) -> Result<Vec<SyncItem>, CommandError> {
    let mut items = conversations.sync(user, wants.clone()).await;
    // `sync` leaves out both non-memberships and unreachable conversations; `open` separates the two.
    let known: HashSet<ConversationId> = items.iter().map(|item| item.conv.clone()).collect();
    let absent: Vec<_> = wants
        .into_iter()
        .filter(|(conv, _)| !known.contains(conv))
        .collect();
    let mut again = Vec::new();
    let mut views = futures::stream::iter(absent)
        .map(|want| async move { (conversations.open(user, &want.0, None).await, want) })
        .buffer_unordered(16);
    while let Some((view, want)) = views.next().await {
        match view {
            Ok(_) => again.push(want),
            // The membership is unknown, and a partial response would pass for a complete one.
            Err(refusal) if refusal.code.temporary() => return Err(refusal),
            Err(_) => {}
        }
    }
    if !again.is_empty() {
        let expected = again.len();
        // The user is a member of all of these, so a missing one was unreachable again.
        let found = conversations.sync(user, again).await;
        if found.len() < expected {
            let msg = "some conversations could not be reached".to_owned();
            return Err(CommandError {
                code: ErrorCode::Unavailable,
                msg,
                retry_ms: Some(1_000),
            });
        }
        items.extend(found);
    }
    Ok(items)
}

/// Returns the conversations of one `sync` page in the order of their ids, and the cursor of the next page. `index`
/// holds at most a page of the user's conversations behind the cursor.
///
/// A client with more conversations than fit in `have` names the lowest ids above the cursor. A full `have` therefore
/// ends the page at its highest id: the client's further conversations must not be sent from the start.
fn plan(
    have: Vec<(ConversationId, u64)>,
    full: bool,
    after: Option<&ConversationId>,
    index: IndexPage,
    most: usize,
) -> (Vec<(ConversationId, u64)>, Option<String>) {
    let behind = |conv: &&ConversationId| after.is_none_or(|after| *conv > after);
    let highest = have.iter().map(|(conv, _)| conv).filter(behind).max().cloned();
    // Ids above the last entry of a truncated index are left to later pages.
    let known = index
        .next
        .as_ref()
        .and(index.items.last())
        .map(|item| item.conv.clone());
    let upper = match (highest.filter(|_| full), known) {
        (Some(highest), Some(known)) => Some(highest.min(known)),
        (highest, known) => highest.or(known),
    };
    let more = index.next.is_some();
    let mut wants: BTreeMap<ConversationId, u64> =
        index.items.into_iter().map(|item| (item.conv, 0)).collect();
    // The client's positions replace the zeros of the index.
    wants.extend(have);
    if let Some(after) = after {
        wants.retain(|conv, _| conv > after);
    }
    let all = wants.len();
    let page: Vec<_> = wants
        .into_iter()
        .take_while(|(conv, _)| upper.as_ref().is_none_or(|upper| conv <= upper))
        .take(most)
        .collect();
    let next = if page.len() < all || more {
        page.last().map(|(conv, _)| conv.as_str().to_owned())
    } else {
        None
    };
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::query::IndexEntry;

    fn conv(i: usize) -> ConversationId {
        ConversationId::parse(&format!("g_{i:04}")).unwrap()
    }

    /// Response of the user's shard: at most `most` conversations above the cursor.
    fn index(all: &[usize], after: Option<&ConversationId>, most: usize) -> IndexPage {
        let behind = |conv: &ConversationId| after.is_none_or(|after| conv > after);
        let mut convs: Vec<ConversationId> = all.iter().map(|i| conv(*i)).filter(behind).collect();
        convs.sort();
        let more = convs.len() > most;
        convs.truncate(most);
        let next = convs.last().filter(|_| more).cloned();
        let items = convs.into_iter().map(|conv| IndexEntry { conv, since_ms: 0 });
        IndexPage {
            items: items.collect(),
            next,
        }
    }

    #[test]
    fn what_the_client_does_not_name_is_sent_from_the_start() {
        let (wants, next) = plan(vec![(conv(2), 7)], false, None, index(&[3, 2, 1], None, 200), 200);
        assert_eq!(wants, [(conv(1), 0), (conv(2), 7), (conv(3), 0)]);
        assert_eq!(next, None);
    }

    #[test]
    fn sync_pages_cover_all_once_and_omit_known_conversations() {
        let all: Vec<_> = (0..4_500).collect();
        let mut cursor: Option<ConversationId> = None;
        let mut seen = Vec::new();
        loop {
            let above = |i: &usize| cursor.as_ref().is_none_or(|cursor| conv(*i) > *cursor);
            // The client has the first 430, each up to 9.
            let have: Vec<_> = (0..430).filter(above).take(200).map(|i| (conv(i), 9)).collect();
            let index = index(&all, cursor.as_ref(), 200);
            let full = have.len() == 200;
            let (wants, next) = plan(have, full, cursor.as_ref(), index, 200);
            assert!(wants.len() <= 200);
            seen.extend(wants);
            match next {
                Some(next) => cursor = Some(ConversationId::parse(&next).unwrap()),
                None => break,
            }
        }
        let expected: Vec<_> = (0..4_500)
            .map(|i| (conv(i), if i < 430 { 9 } else { 0 }))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_the_client_names_behind_the_page_waits_for_its_turn() {
        let all: Vec<_> = (0..450).collect();
        let have = vec![(conv(3), 9), (conv(440), 9)];
        let (wants, next) = plan(have, false, None, index(&all, None, 200), 200);
        assert_eq!((wants.len(), wants[3].1), (200, 9));
        assert_eq!(next.as_deref(), Some(conv(199).as_str()));
    }

    #[test]
    fn a_full_have_that_lies_before_the_cursor_ends_nothing() {
        let all: Vec<_> = (0..450).collect();
        let have = (0..200).map(|i| (conv(i), 9)).collect();
        let after = conv(300);
        let (wants, next) = plan(have, true, Some(&after), index(&all, Some(&after), 200), 200);
        assert_eq!((wants.len(), next), (149, None));
    }
}
