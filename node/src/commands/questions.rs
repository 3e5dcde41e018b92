//! What is asked and changes nothing: `list`, `hist`, `sync`, `members`, and messages as they are now. (`open` is one read of
//! [`Conversations::open`]; a session also follows what it opens.)

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use protocol::answer::{Delta, DeltaItem, Hist as Page, Inbox, Member, Members as MembersOf};
use protocol::command::{Hist, List, Members, Sync};
use protocol::list::{Ban, Bans, Blocks};
use protocol::message::Messages;
use protocol::{ConvId, ErrorCode, UserId, limits};

use crate::config::Limits;
use crate::conversation::{Conversations, Refusal, SyncItem};

/// Conversations of a sync that are read at once, which bounds what is in memory beyond the configured size: each may
/// bring fifty of the largest messages.
const SYNC_AT_ONCE: usize = 16;

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

/// `sync`. A session asks this once its subscriptions are active, so that nothing falls between the two.
///
/// # Errors
/// When a conversation can't be reached: half an answer would look like a whole one.
pub async fn sync(
    conversations: &Conversations,
    user: &UserId,
    sync: Sync,
    limits: &Limits,
) -> Result<Delta, Refusal> {
    let index = conversations.index(user).await?;
    let (wants, mut next) = plan(sync, index, limits.sync_page);
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
///
/// A client with more conversations than fit in `have` names the lowest ids above the cursor; so a full `have` ends the
/// page at its highest id, and what the client has beyond is not sent from the start.
fn plan(sync: Sync, index: Vec<ConvId>, most: usize) -> (Vec<(ConvId, u64)>, Option<String>) {
    let Sync { have, cursor } = sync;
    let full = have.len() >= limits::SYNC_HAVE.min(most);
    let upper = if full {
        have.iter().map(|(conv, _)| conv.clone()).max()
    } else {
        None
    };
    let mut wants: BTreeMap<ConvId, u64> = index.into_iter().map(|conv| (conv, 0)).collect();
    wants.extend(have);
    if let Some(cursor) = &cursor {
        wants.retain(|conv, _| conv.as_str() > cursor.as_str());
    }
    let all = wants.len();
    let page: Vec<_> = wants
        .into_iter()
        .take_while(|(conv, _)| upper.as_ref().is_none_or(|upper| conv <= upper))
        .take(most)
        .collect();
    let next = if page.len() < all {
        page.last().map(|(conv, _)| conv.as_str().to_owned())
    } else {
        None
    };
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(i: usize) -> ConvId {
        ConvId::parse(&format!("g_{i:04}")).unwrap()
    }

    #[test]
    fn what_the_client_does_not_name_is_sent_from_the_start() {
        let sync = Sync {
            have: vec![(conv(2), 7)],
            cursor: None,
        };
        let (wants, next) = plan(sync, vec![conv(3), conv(2), conv(1)], 200);
        assert_eq!(wants, [(conv(1), 0), (conv(2), 7), (conv(3), 0)]);
        assert_eq!(next, None);
    }

    #[test]
    fn pages_cover_everything_once_and_send_nothing_from_the_start_that_the_client_has() {
        let index: Vec<_> = (0..450).rev().map(conv).collect();
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let above = |i: &usize| {
                cursor
                    .as_ref()
                    .is_none_or(|cursor| conv(*i).as_str() > String::as_str(cursor))
            };
            // The client has the first 430, each up to 9.
            let have = (0..430).filter(above).take(200).map(|i| (conv(i), 9)).collect();
            let (wants, next) = plan(
                Sync {
                    have,
                    cursor: cursor.clone(),
                },
                index.clone(),
                200,
            );
            seen.extend(wants);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let expected: Vec<_> = (0..450).map(|i| (conv(i), if i < 430 { 9 } else { 0 })).collect();
        assert_eq!(seen, expected);
    }
}
