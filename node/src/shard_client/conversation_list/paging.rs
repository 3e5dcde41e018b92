//! Paging of the conversation list. Pure.
//!
//! The list in the user's shard follows a busy conversation by windows, so a *recent* row may be listed below its last
//! message. A row is recent if it moved within the last window before the list was started. For up to [`YOUNG`] recent
//! rows beside the page's own, the owners are queried, and the page is cut by their responses. With more, pages are cut
//! by the list. Other rows are exact; those of large conversations are used as listed.
//!
//! Between two pages a conversation may move to the front, which the client has passed already. After the last page,
//! the recent rows that were not shown in their present state are therefore repeated, oldest first.
//!
//! A row moves when its activity note arrives, which may be a window after the message, and later while an owner is
//! replaced. The repetition starts accordingly earlier if the pages were cut by the list, or if a row shows such a lag.

use std::cmp::Reverse;

use protocol::ConversationId;
use protocol::response::ConversationListItem;

use super::cursor::{ListCursor, ListPhase};
use crate::state_machine::PlacedEntry;

/// Maximum number of recent rows queried in addition to a page's own.
const YOUNG: usize = 128;
/// Bound in milliseconds on the delay of activity notes by a change of owner, in addition to the window.
const TAKEOVER_MS: u64 = 60_000;

/// Row of the list with its owner's summary.
#[derive(Clone, Debug)]
pub(super) struct InboxRow {
    pub(super) placed: PlacedEntry,
    /// Time of its last message, or of the joining, in milliseconds since the epoch.
    pub(super) ts: u64,
    /// Position of its last message; `None` if its owner could not be reached.
    pub(super) s: Option<u64>,
    pub(super) item: ConversationListItem,
}

/// Rows to query for a page.
#[derive(Debug)]
pub(super) struct PagePlan {
    pub(super) cursor: ListCursor,
    pub(super) placed: Vec<PlacedEntry>,
    /// True if the list continues behind them.
    pub(super) more: bool,
}

/// Finished page with the cursor of the next one.
#[derive(Debug)]
pub(super) struct PageCut {
    pub(super) items: Vec<ConversationListItem>,
    pub(super) next: Option<ListCursor>,
}

/// Returns the number of list rows to read for a page.
pub(super) fn rows(limit: usize) -> usize {
    limit + YOUNG + 1
}

/// Selects the rows to query from those that were read, see [`rows`].
pub(super) fn plan(mut cursor: ListCursor, mut placed: Vec<PlacedEntry>, limit: usize) -> PagePlan {
    let young = placed
        .iter()
        .take_while(|placed| placed.ms >= cursor.young)
        .count();
    if cursor.phase == ListPhase::Fine && young > YOUNG {
        // The switch lasts for the whole list: a cursor by last messages could skip rows of the other order.
        cursor.phase = ListPhase::Coarse;
    }
    let most = match cursor.phase {
        ListPhase::Fine => limit + young,
        ListPhase::Coarse => limit,
        ListPhase::Again => limit + YOUNG,
    };
    let more = placed.len() > most;
    placed.truncate(most);
    PagePlan { cursor, placed, more }
}

/// Cuts the page. `end` is the last queried row if the list continues behind it.
pub(super) fn cut(
    mut cursor: ListCursor,
    rows: Vec<InboxRow>,
    end: Option<(u64, ConversationId)>,
    limit: usize,
) -> PageCut {
    if cursor.phase != ListPhase::Again {
        cursor.note_lag(&rows);
    }
    match cursor.phase {
        ListPhase::Fine => fine(cursor, rows, end, limit),
        ListPhase::Coarse => coarse(cursor, rows, end),
        ListPhase::Again => again(cursor, rows, end, limit),
    }
}

fn fine(
    mut cursor: ListCursor,
    rows: Vec<InboxRow>,
    end: Option<(u64, ConversationId)>,
    limit: usize,
) -> PageCut {
    let first = cursor.at.is_none();
    let mut rows: Vec<(u64, InboxRow)> = rows
        .into_iter()
        .map(|row| (cursor.position(&row), row))
        // Rows before the cursor were shown, or have moved there since and are repeated at the end.
        .filter(|(ms, row)| {
            cursor
                .at
                .as_ref()
                .is_none_or(|at| is_behind(*ms, &row.placed.conv, at))
        })
        .collect();
    rows.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.placed.conv.cmp(&right.placed.conv)));
    let more = rows.len() > limit;
    rows.truncate(limit);
    let at = if more {
        rows.last().map(|(ms, row)| (*ms, row.placed.conv.clone()))
    } else {
        // All queried rows are shown, so the next page continues in the list.
        end
    };
    rows.iter().for_each(|(_, row)| cursor.show(row));
    let items = rows.into_iter().map(|(_, row)| row.item).collect();
    let next = match at {
        Some(at) => Some(ListCursor {
            at: Some(at),
            ..cursor
        }),
        // This page is the whole list, so nothing can have moved between pages.
        None if first => None,
        None => Some(cursor.again()),
    };
    PageCut { items, next }
}

fn coarse(mut cursor: ListCursor, mut rows: Vec<InboxRow>, end: Option<(u64, ConversationId)>) -> PageCut {
    let first = cursor.at.is_none();
    rows.sort_by_key(|row| Reverse(row.ts));
    rows.iter().for_each(|row| cursor.show(row));
    let items = rows.into_iter().map(|row| row.item).collect();
    let next = match end {
        Some(at) => Some(ListCursor {
            at: Some(at),
            ..cursor
        }),
        None if first => None,
        None => {
            // No owner was queried about the rows ahead, so the note of a message from before the list was started may
            // have moved one of them between two pages.
            cursor.since = cursor.since.min(cursor.young);
            Some(cursor.again())
        }
    };
    PageCut { items, next }
}

fn again(
    cursor: ListCursor,
    rows: Vec<InboxRow>,
    end: Option<(u64, ConversationId)>,
    limit: usize,
) -> PageCut {
    let mut items = Vec::new();
    let mut rows = rows
        .into_iter()
        .filter(|row| cursor.comes_again(row))
        .collect::<Vec<_>>()
        .into_iter();
    let mut at = None;
    for row in rows.by_ref().take(limit) {
        // Not recorded: a full record would be dropped, and with it the knowledge about the rows ahead.
        at = Some((row.placed.ms, row.placed.conv));
        items.push(row.item);
    }
    let at = if rows.next().is_some() { at } else { end };
    let next = at.map(|at| ListCursor {
        at: Some(at),
        ..cursor
    });
    PageCut { items, next }
}

/// Returns true if a row comes after the place, the latest first.
fn is_behind(ms: u64, conv: &ConversationId, (at, last): &(u64, ConversationId)) -> bool {
    ms < *at || ms == *at && conv > last
}

// === impl ListCursor ===

impl ListCursor {
    /// Returns the sort time of a row: that of its owner only if it was recent on the first page and not large.
    fn position(&self, row: &InboxRow) -> u64 {
        let PlacedEntry { ms, large, .. } = row.placed;
        if ms >= self.young && !large { row.ts } else { ms }
    }

    /// Extends the repetition if a row shows that the list lags: rows behind the page may move by outstanding notes.
    fn note_lag(&mut self, rows: &[InboxRow]) {
        let earliest = rows.iter().map(|row| self.moves_from(row)).min();
        self.since = earliest.map_or(self.since, |ms| ms.min(self.since));
    }

    /// Returns the time from which rows may move if this row is typical of the list.
    fn moves_from(&self, row: &InboxRow) -> u64 {
        let PlacedEntry { ms, large, .. } = row.placed;
        // A message after the start is no lag: its note may be under way.
        let lags = row.ts > ms && row.ts < self.since;
        match row.s {
            // The owner may have died with outstanding notes, and the row may turn out to be above the cursor.
            None => self.young.saturating_sub(TAKEOVER_MS),
            Some(_) if lags && ms < self.young => self.young.saturating_sub(TAKEOVER_MS),
            Some(_) if lags && large => self.young,
            Some(_) => self.since,
        }
    }

    fn show(&mut self, row: &InboxRow) {
        if row.ts.max(row.placed.ms) >= self.young {
            self.remember(&row.placed.conv, row.s);
        }
    }

    fn comes_again(&self, row: &InboxRow) -> bool {
        match self.was_seen(&row.placed.conv, row.s) {
            Some(seen) => !seen,
            // Without a record, a row with an unknown position has to be repeated.
            None => row.s.is_none() || row.ts.max(row.placed.ms) >= self.since,
        }
    }
}

#[cfg(test)]
mod tests;
