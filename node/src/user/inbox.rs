//! The inbox: which conversations a user is in and in which order, from the user's shard; how each stands, from its owner.
//!
//! A page asks the user's shard for as many rows as it shows, and the owners of these conversations: what it costs does
//! not depend on how many there are. How pages are cut is in [`paging`]. An owner that can't be reached makes its rows
//! `stale`; none is left out for that.

mod cursor;
mod paging;

use std::sync::Arc;

use protocol::answer::{Inbox, Item};
use protocol::{ConvId, Kind, UserId};

use self::cursor::ListCursor;
use self::paging::{InboxRow, PageCut, PagePlan};
use crate::conversation::answer::Refusal;
use crate::conversation::reads::client::scatter;
use crate::conversation::route::ask;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::read::{Direction, IndexPage, Placed, Summary};
use crate::rpc::read::{Index, IndexAfter, Indexed, Summaries, Summarised};
use crate::rpc::{self, Refused};

/// By how much clocks of owners may differ, and how much later what is proposed is applied.
const SLACK_MS: u64 = 12_000;

/// The user's latest conversations behind a place.
pub(crate) async fn latest(
    shared: &Arc<Shared>,
    user: &UserId,
    from: Option<(u64, ConvId)>,
    limit: usize,
) -> Result<Vec<Placed>, Refusal> {
    placed(shared, user, from, Direction::Older, limit).await
}

/// The user's conversations above `after`, in the order of their ids.
pub(crate) async fn by_id(
    shared: &Arc<Shared>,
    user: &UserId,
    after: Option<ConvId>,
    limit: usize,
) -> Result<IndexPage, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let question = IndexAfter {
        user: user.clone(),
        after,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    ask(shared, shard, rpc::INDEX_AFTER, &question).await
}

/// A page of the inbox, the latest message first.
pub(crate) async fn page(
    shared: &Arc<Shared>,
    user: &UserId,
    cursor: Option<String>,
    limit: usize,
) -> Result<Inbox, Refusal> {
    let limit = limit.clamp(1, protocol::limits::PAGE);
    let cursor = match cursor {
        Some(text) => ListCursor::parse(&text)?,
        None => {
            let window = u64::try_from(shared.settings.activity_window.as_millis()).unwrap_or(u64::MAX);
            ListCursor::begin(shared.settings.clock.now_ms(), SLACK_MS, window)
        }
    };
    let cut = step(shared, user, cursor, limit).await?;
    let next = match cut.next {
        // What may have to come again is mostly nothing: then the list ends here.
        Some(next) if next.begins_again() => {
            let again = step(shared, user, next.clone(), limit).await?;
            Some(next).filter(|_| !again.items.is_empty() || again.next.is_some())
        }
        next => next,
    };
    Ok(Inbox {
        items: cut.items,
        next: next.map(|next| next.to_string()),
    })
}

/// One page: which rows of the list, what their owners say, and what of that is shown.
async fn step(
    shared: &Arc<Shared>,
    user: &UserId,
    cursor: ListCursor,
    limit: usize,
) -> Result<PageCut, Refusal> {
    let (from, direction) = cursor.from();
    let placed = placed(shared, user, from, direction, paging::rows(limit)).await?;
    let PagePlan { cursor, placed, more } = paging::plan(cursor, placed, limit);
    let convs: Vec<ConvId> = placed.iter().map(|placed| placed.conv.clone()).collect();
    let question = |convs: &[&ConvId]| Summaries {
        user: user.clone(),
        convs: convs.iter().map(|conv| (*conv).clone()).collect(),
    };
    let said: Vec<Option<Result<Summary, Refused>>> =
        scatter::<_, _, Summarised, _>(shared, &convs, |conv| conv, rpc::SUMMARIES, question).await;
    let end = placed.last().map(|placed| (placed.ms, placed.conv.clone()));
    let rows = placed
        .into_iter()
        .zip(said)
        .filter_map(|(placed, said)| row(placed, said));
    Ok(paging::cut(cursor, rows.collect(), end.filter(|_| more), limit))
}

async fn placed(
    shared: &Arc<Shared>,
    user: &UserId,
    from: Option<(u64, ConvId)>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Placed>, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let question = Index {
        user: user.clone(),
        from,
        direction,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    ask::<_, Indexed>(shared, shard, rpc::INDEX, &question).await
}

/// What the page says of a conversation; `None`: the user is in it no more, and the list lags.
fn row(placed: Placed, said: Option<Result<Summary, Refused>>) -> Option<InboxRow> {
    let unreached = |placed: Placed| InboxRow {
        item: stale(placed.conv.clone()),
        ts: placed.ms,
        s: None,
        placed,
    };
    Some(match said {
        Some(Ok(summary)) => match summary.wire() {
            Ok(item) => InboxRow {
                ts: placed.ms.max(summary.last.ts),
                s: Some(summary.last.s),
                item,
                placed,
            },
            Err(_) => unreached(placed),
        },
        Some(Err(Refused::NotMember)) => return None,
        Some(Err(_)) | None => unreached(placed),
    })
}

/// A row whose owner could not be reached.
fn stale(conv: ConvId) -> Item {
    Item {
        kind: conv.kind().unwrap_or(Kind::Group),
        c: conv,
        title: None,
        role: None,
        last: None,
        unread: 0,
        mentions: 0,
        read: 0,
        delivered: 0,
        muted: false,
        pinned: false,
        peer: None,
        stale: true,
    }
}
