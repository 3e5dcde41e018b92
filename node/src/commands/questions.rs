//! What is asked and changes nothing: `list`, `hist`, `sync`, `members`, and messages as they are now. (`open` is one read of
//! [`Conversations::open`]; a session also follows what it opens.)

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use protocol::answer::{Delta, DeltaItem, Hist as Page, Inbox, Member, Members as MembersOf};
use protocol::command::{Hist, List, Members, Sync};
use protocol::limits::SYNC_HAVE;
use protocol::list::{Ban, Bans, Blocks};
use protocol::message::Messages;
use protocol::{ConvId, ErrorCode, UserId, limits};

use crate::config::Limits;
use crate::conversation::timeline::read::IndexPage;
use crate::conversation::{Conversations, Refusal, SyncItem};
use crate::session::Sessions;

/// Conversations of a sync that are read at once, which bounds what is in memory beyond the configured size: each may
/// bring fifty of the largest messages.
const SYNC_AT_ONCE: usize = 16;
/// Conversations that a page of a sync names if `have` names fewer.
const SYNC_NAMED: usize = 50;
/// The same of the first page: what is read at once, so that it comes as soon for a user with many.
const SYNC_FIRST: usize = SYNC_AT_ONCE;

/// `list`.
///
/// # Errors
/// A malformed cursor, or a shard that can't be reached.
pub async fn list(
    conversations: &Conversations,
    user: &UserId,
    list: List,
    limits: &Limits,
) -> Result<Inbox, Refusal> {
    let limit = page(list.limit, limits);
    conversations.inbox(user, list.cursor, limit).await
}

/// `hist`.
///
/// # Errors
/// The owner's refusal.
pub async fn history(
    conversations: &Conversations,
    user: &UserId,
    hist: Hist,
    limits: &Limits,
) -> Result<Page, Refusal> {
    let limit = page(hist.limit, limits);
    let Hist { c, before, after, .. } = hist;
    let page = conversations.history(user, &c, before, after, limit).await?;
    Ok(Page {
        c,
        events: page.events,
        more: page.more,
        gap: page.gap,
    })
}

/// The same window as [`history`] of messages as they are now, for clients that keep no log.
///
/// # Errors
/// The owner's refusal.
pub async fn messages(
    conversations: &Conversations,
    user: &UserId,
    hist: Hist,
    limits: &Limits,
) -> Result<Messages, Refusal> {
    let limit = page(hist.limit, limits);
    let Hist { c, before, after, .. } = hist;
    conversations.messages(user, &c, before, after, limit).await
}

/// `sync`. The positions are read once the subscriptions of the user's sessions here to the page's conversations stand, so
/// that nothing falls between the two.
///
/// # Errors
/// A malformed cursor, or a conversation that can't be reached: half an answer would look like a whole one.
pub async fn sync(
    conversations: &Conversations,
    sessions: &Sessions,
    user: &UserId,
    sync: Sync,
    limits: &Limits,
) -> Result<Delta, Refusal> {
    let after = sync.cursor.as_deref().map(ConvId::parse).transpose();
    let after = after.map_err(|_| Refusal::new(ErrorCode::BadRequest, "unknown cursor"))?;
    let full = sync.have.len() >= SYNC_HAVE.min(limits.sync_page);
    let named = if after.is_some() { SYNC_NAMED } else { SYNC_FIRST };
    let most = sync.have.len().max(named).min(limits.sync_page);
    let index = conversations.index(user, after.clone(), most).await?;
    let (wants, mut next) = plan(sync.have, full, after.as_ref(), index, most);
    let convs: Vec<ConvId> = wants.iter().map(|(conv, _)| conv.clone()).collect();
    sessions.all_follow(user, &convs).await?;
    let mut items = Vec::new();
    let mut bytes = 0;
    for wants in wants.chunks(SYNC_AT_ONCE) {
        if bytes > limits.sync_bytes {
            next = items.last().map(|item: &SyncItem| item.conv.as_str().to_owned());
            break;
        }
        let mut found = missed(conversations, user, wants.to_vec()).await?;
        found.sort_by(|a, b| a.conv.cmp(&b.conv));
        bytes += found
            .iter()
            .flat_map(|item| &item.events)
            .map(|event| event.as_str().len())
            .sum::<usize>();
        items.extend(found);
    }
    let as_of = items.iter().map(|item| (item.conv.clone(), item.as_of)).collect();
    let items = items
        .into_iter()
        .filter(|item| item.gap || !item.events.is_empty())
        .map(|item| DeltaItem {
            c: item.conv,
            events: item.events,
            gap: item.gap,
        })
        .collect();
    Ok(Delta { as_of, items, next })
}

/// `members`.
///
/// # Errors
/// A malformed cursor, or the owner's refusal.
pub async fn members(
    conversations: &Conversations,
    user: &UserId,
    question: Members,
    limits: &Limits,
) -> Result<MembersOf, Refusal> {
    let Members { c, cursor, limit } = question;
    let after = after(cursor)?;
    let found = conversations
        .members(user, &c, after, page(limit, limits))
        .await?;
    let items = found.items.into_iter().map(|member| Member {
        u: member.user,
        role: member.role,
        delivered: member.cursors.map(|cursors| cursors.delivered),
        read: member.cursors.map(|cursors| cursors.read),
    });
    Ok(MembersOf {
        items: items.collect(),
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// Who is banned.
///
/// # Errors
/// A malformed cursor, or the owner's refusal.
pub async fn bans(
    conversations: &Conversations,
    user: &UserId,
    question: Members,
    limits: &Limits,
) -> Result<Bans, Refusal> {
    let Members { c, cursor, limit } = question;
    let after = after(cursor)?;
    let found = conversations.bans(user, &c, after, page(limit, limits)).await?;
    let items = found.items.into_iter().map(|ban| Ban {
        u: ban.user,
        by: ban.by,
        ts: ban.at_ms,
    });
    Ok(Bans {
        items: items.collect(),
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// Whom the user blocks. The list may lag a change by a moment; what is refused does not.
///
/// # Errors
/// A malformed cursor, or a shard that can't be reached.
pub async fn blocks(
    conversations: &Conversations,
    user: &UserId,
    question: List,
    limits: &Limits,
) -> Result<Blocks, Refusal> {
    let List { cursor, limit } = question;
    let after = after(cursor)?;
    let found = conversations.blocks(user, after, page(limit, limits)).await?;
    Ok(Blocks {
        items: found.items,
        next: found.next.map(|user| user.as_str().to_owned()),
    })
}

/// The user behind whom a page begins.
fn after(cursor: Option<String>) -> Result<Option<UserId>, Refusal> {
    let after = cursor.map(|cursor| UserId::parse(&cursor)).transpose();
    after.map_err(|_| Refusal::new(ErrorCode::BadRequest, "unknown cursor"))
}

/// The size of a page: what was asked for, within the protocol's bounds and the node's.
#[must_use]
pub fn page(limit: Option<u64>, node: &Limits) -> usize {
    limits::page(limit).min(node.page)
}

/// What the user missed. A conversation that is left out is one that the user is no member of, never one that could not
/// be reached: then nothing is answered.
async fn missed(
    conversations: &Conversations,
    user: &UserId,
    wants: Vec<(ConvId, u64)>,
) -> Result<Vec<SyncItem>, Refusal> {
    let mut items = conversations.sync(user, wants.clone()).await;
    let known: HashSet<ConvId> = items.iter().map(|item| item.conv.clone()).collect();
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
            Err(refusal) if refusal.code.temporary() => return Err(refusal),
            Err(_) => {}
        }
    }
    if !again.is_empty() {
        let expected = again.len();
        let found = conversations.sync(user, again).await;
        if found.len() < expected {
            let msg = "not every conversation could be reached".to_owned();
            return Err(Refusal {
                code: ErrorCode::Unavailable,
                msg,
                retry_ms: Some(1_000),
            });
        }
        items.extend(found);
    }
    Ok(items)
}

/// What one `sync` looks at, and the cursor of the next: conversations in the order of their ids, a page at a time.
/// `index`: as many as a page holds of those behind the cursor.
///
/// A client with more conversations than fit in `have` names the lowest ids above the cursor; so a full `have` ends the
/// page at its highest id, and what the client has beyond is not sent from the start.
fn plan(
    have: Vec<(ConvId, u64)>,
    full: bool,
    after: Option<&ConvId>,
    index: IndexPage,
    most: usize,
) -> (Vec<(ConvId, u64)>, Option<String>) {
    let behind = |conv: &&ConvId| after.is_none_or(|after| *conv > after);
    let highest = have.iter().map(|(conv, _)| conv).filter(behind).max().cloned();
    // Beyond this it is not known here what the user is in.
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
    let mut wants: BTreeMap<ConvId, u64> = index.items.into_iter().map(|item| (item.conv, 0)).collect();
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
    use crate::conversation::timeline::read::IndexEntry;

    fn conv(i: usize) -> ConvId {
        ConvId::parse(&format!("g_{i:04}")).unwrap()
    }

    /// What the user's shard answers: at most so many above the cursor.
    fn index(all: &[usize], after: Option<&ConvId>, most: usize) -> IndexPage {
        let behind = |conv: &ConvId| after.is_none_or(|after| conv > after);
        let mut convs: Vec<ConvId> = all.iter().map(|i| conv(*i)).filter(behind).collect();
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
    fn pages_cover_everything_once_and_send_nothing_from_the_start_that_the_client_has() {
        let all: Vec<_> = (0..4_500).collect();
        let mut cursor: Option<ConvId> = None;
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
                Some(next) => cursor = Some(ConvId::parse(&next).unwrap()),
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
