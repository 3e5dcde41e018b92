//! The command `sync`: a page of the missed events of many conversations.

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use protocol::command::SyncRequest;
use protocol::limits::SYNC_HAVE;
use protocol::response::{SyncResponse, SyncResponseItem};
use protocol::{ClientCommand, ConversationId, ErrorCode, UserId};

use super::client_query::{ClientQuery, ClientQueryContext, FollowingSessions};
use crate::shard_client::{CommandError, ShardClient, SyncItem};
use crate::state_machine::query::IndexPage;

/// Conversations of a sync that are read concurrently. Bounds the memory beyond the configured size, as each may return
/// fifty of the largest messages.
const SYNC_AT_ONCE: usize = 16;
/// Conversations on a later page of a sync if `have` names fewer.
const SYNC_NAMED: usize = 50;
/// Conversations on the first page of a sync if `have` names fewer: one round of reads keeps it fast.
const SYNC_FIRST: usize = SYNC_AT_ONCE;

/// Bytes of one sync response after which the rest is left for the next page.
const SYNC_BYTES: usize = 1 << 20;

// === impl ClientQuery ===

/// The positions are read after the user's sessions on this node have subscribed to the page's conversations. No event can
/// fall between the two.
impl ClientQuery for SyncRequest {
    type Response = SyncResponse;

    fn command(&self) -> ClientCommand {
        ClientCommand::Sync(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<SyncResponse, CommandError> {
        let ClientQueryContext {
            conversations,
            sessions,
            user,
        } = *context;
        let after = self.cursor.as_deref().map(ConversationId::parse).transpose();
        let after = after.map_err(|_| CommandError::new(ErrorCode::BadRequest, "unknown cursor"))?;
        // A full `have` may leave out further conversations of the client, see `plan`.
        let full = self.have.len() >= SYNC_HAVE;
        let named = if after.is_some() { SYNC_NAMED } else { SYNC_FIRST };
        let most = self.have.len().max(named).min(SYNC_HAVE);
        let index = conversations.index(user, after.clone(), most).await?;
        let (wants, mut next) = plan(self.have, full, after.as_ref(), index, most);
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
