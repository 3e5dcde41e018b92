//! Conversation list of a user: order from the user's shard, content from the owners of the conversations.
//!
//! A page reads a bounded number of rows from the user's shard and queries the owners of these conversations, so its
//! cost does not depend on the total. [`paging`] cuts the pages. Rows of an unreachable owner are marked `stale`
//! instead of being left out.

mod cursor;
mod paging;

use std::sync::Arc;

use protocol::response::{ConversationList, ConversationListItem, UserCards};
use protocol::{ConversationId, ConversationKind, UserId};

use self::cursor::ListCursor;
use self::paging::{InboxRow, PageCut, PagePlan};
use super::command_error::CommandError;
use super::queries::query;
use super::scatter;
use crate::rpc::RpcError;
use crate::shard_client::ClientContext;
use crate::state_machine::query::{
    Direction, IndexAfter, IndexPage, IndexQuery, PlacedEntry, SummariesQuery, Summary,
};

/// Bound in milliseconds on the difference between the owners' clocks plus the delay until a proposal is applied.
const SLACK_MS: u64 = 12_000;

/// Returns the user's latest conversations behind a place in the order by time.
pub(crate) async fn latest(
    shared: &Arc<ClientContext>,
    user: &UserId,
    from: Option<(u64, ConversationId)>,
    limit: usize,
) -> Result<Vec<PlacedEntry>, CommandError> {
    placed(shared, user, from, Direction::Older, limit).await
}

/// Returns the user's conversations above `after`, in the order of their ids.
pub(crate) async fn by_id(
    shared: &Arc<ClientContext>,
    user: &UserId,
    after: Option<ConversationId>,
    limit: usize,
) -> Result<IndexPage, CommandError> {
    let question = IndexAfter {
        user: user.clone(),
        after,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    query(shared, &question).await
}

/// Returns a page of the list, the latest message first; with `data_kind` only conversations with custom data of that
/// kind.
pub(crate) async fn page(
    shared: &Arc<ClientContext>,
    user: &UserId,
    (cursor, data_kind): (Option<String>, Option<&str>),
    limit: usize,
) -> Result<ConversationList, CommandError> {
    let limit = limit.clamp(1, protocol::limits::PAGE);
    let cursor = match cursor {
        Some(text) => ListCursor::parse(&text)?,
        None => {
            let window = u64::try_from(shared.settings.activity_window.as_millis()).unwrap_or(u64::MAX);
            ListCursor::begin(shared.settings.clock.now_ms(), SLACK_MS, window)
        }
    };
    let cut = step(shared, user, (cursor, data_kind), limit).await?;
    let next = match cut.next {
        // Usually nothing has moved since the first page; a look ahead saves the client an empty page.
        Some(next) if next.begins_again() => {
            let again = step(shared, user, (next.clone(), data_kind), limit).await?;
            Some(next).filter(|_| !again.items.is_empty() || again.next.is_some())
        }
        next => next,
    };
    Ok(ConversationList {
        items: cut.items,
        next: next.map(|next| next.to_string()),
        users: UserCards::new(),
    })
}

/// Reads one page: rows of the list, their owners' summaries, and the cut.
async fn step(
    shared: &Arc<ClientContext>,
    user: &UserId,
    (cursor, data_kind): (ListCursor, Option<&str>),
    limit: usize,
) -> Result<PageCut, CommandError> {
    let (from, direction) = cursor.from();
    let placed = placed(shared, user, from, direction, paging::rows(limit)).await?;
    let PagePlan { cursor, placed, more } = paging::plan(cursor, placed, limit);
    let question = SummariesQuery {
        user: user.clone(),
        convs: placed.iter().map(|placed| placed.conv.clone()).collect(),
        data_kind: data_kind.map(Into::into),
    };
    let summaries = scatter(shared, &question).await;
    // Taken before rows are left out: the next page continues behind the last row read.
    let end = placed.last().map(|placed| (placed.ms, placed.conv.clone()));
    let rows = placed
        .into_iter()
        .zip(summaries)
        .filter_map(|(placed, summary)| row(placed, summary));
    Ok(paging::cut(cursor, rows.collect(), end.filter(|_| more), limit))
}

async fn placed(
    shared: &Arc<ClientContext>,
    user: &UserId,
    from: Option<(u64, ConversationId)>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<PlacedEntry>, CommandError> {
    let question = IndexQuery {
        user: user.clone(),
        from,
        direction,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    query(shared, &question).await
}

/// Returns the row of a conversation; `None` if its custom data is of another kind, or if the user is no member any more
/// and the list lags behind.
fn row(placed: PlacedEntry, summary: Option<Result<Option<Summary>, RpcError>>) -> Option<InboxRow> {
    let unreached = |placed: PlacedEntry| InboxRow {
        item: stale(placed.conv.clone()),
        ts: placed.ms,
        s: None,
        placed,
    };
    Some(match summary {
        Some(Ok(None)) => return None,
        Some(Ok(Some(summary))) => match summary.page() {
            Ok(item) => InboxRow {
                // The later of both: the owner may have a newer message than the list, and the list includes the
                // joining.
                ts: placed.ms.max(summary.last.timestamp_ms),
                s: Some(summary.last.seq),
                item,
                placed,
            },
            // One summary that cannot be encoded must not fail the whole page.
            Err(_) => unreached(placed),
        },
        Some(Err(RpcError::NotMember)) => return None,
        Some(Err(_)) | None => unreached(placed),
    })
}

/// Returns the item of a conversation whose owner could not be reached.
fn stale(conv: ConversationId) -> ConversationListItem {
    ConversationListItem {
        kind: conv.kind().unwrap_or(ConversationKind::Group),
        conversation: conv,
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
