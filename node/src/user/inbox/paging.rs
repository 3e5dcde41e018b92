//! How the inbox is cut into pages. Pure.
//!
//! The list in the user's shard follows a conversation in which much is sent by windows, so a *young* row (one that moved
//! within the last window before the list was begun) may stand lower than its last message. Up to [`YOUNG`] of these are
//! asked about beside the page's own, and the page is cut by what their owners say. With more, pages are cut by the
//! list. Rows that are not young stand where they belong; those of large conversations stand where the list has them.
//!
//! Between two pages a conversation may move to the front, where the reader has been already. So behind the last page
//! come once more, oldest first, the young ones that were not shown as they are.

use std::cmp::Reverse;

use protocol::ConvId;
use protocol::answer::Item;

use super::cursor::{ListCursor, ListPhase};
use crate::conversation::timeline::read::Placed;

/// Rows beside its own that are asked about for a page.
const YOUNG: usize = 128;

/// A row of the list, and what its owner says.
#[derive(Clone, Debug)]
pub(super) struct InboxRow {
    pub(super) placed: Placed,
    /// The time of its last message, or of the joining.
    pub(super) ts: u64,
    /// Its last message; `None`: its owner was silent.
    pub(super) s: Option<u64>,
    pub(super) item: Item,
}

/// Which rows a page asks about.
#[derive(Debug)]
pub(super) struct PagePlan {
    pub(super) cursor: ListCursor,
    pub(super) placed: Vec<Placed>,
    /// The list goes on behind them.
    pub(super) more: bool,
}

/// A page.
#[derive(Debug)]
pub(super) struct PageCut {
    pub(super) items: Vec<Item>,
    pub(super) next: Option<ListCursor>,
}

/// How many rows of the list are read for a page.
pub(super) fn rows(limit: usize) -> usize {
    limit + YOUNG + 1
}

/// Chooses the rows that are asked about from as many as [`rows`] says.
pub(super) fn plan(mut cursor: ListCursor, mut placed: Vec<Placed>, limit: usize) -> PagePlan {
    let young = placed
        .iter()
        .take_while(|placed| placed.ms >= cursor.young)
        .count();
    if cursor.phase == ListPhase::Fine && young > YOUNG {
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

/// Takes the page out of the rows. `end`: the last row asked about, if the list goes on behind it.
pub(super) fn cut(
    cursor: ListCursor,
    rows: Vec<InboxRow>,
    end: Option<(u64, ConvId)>,
    limit: usize,
) -> PageCut {
    match cursor.phase {
        ListPhase::Fine => fine(cursor, rows, end, limit),
        ListPhase::Coarse => coarse(cursor, rows, end),
        ListPhase::Again => again(cursor, rows, end, limit),
    }
}

fn fine(mut cursor: ListCursor, rows: Vec<InboxRow>, end: Option<(u64, ConvId)>, limit: usize) -> PageCut {
    let first = cursor.at.is_none();
    if rows
        .iter()
        .any(|row| row.s.is_none() && row.placed.ms >= cursor.young)
    {
        // It may be found above the cursor when its owner speaks again.
        cursor.since = cursor.young;
    }
    let mut rows: Vec<(u64, InboxRow)> = rows
        .into_iter()
        .map(|row| (cursor.position(&row), row))
        // What stands before was shown, or has moved there since and comes again.
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
        // Everything that was asked about is through.
        end
    };
    rows.iter().for_each(|(_, row)| cursor.show(row));
    let items = rows.into_iter().map(|(_, row)| row.item).collect();
    let next = match at {
        Some(at) => Some(ListCursor {
            at: Some(at),
            ..cursor
        }),
        None if first => None,
        None => Some(cursor.again()),
    };
    PageCut { items, next }
}

fn coarse(mut cursor: ListCursor, mut rows: Vec<InboxRow>, end: Option<(u64, ConvId)>) -> PageCut {
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
        None => Some(cursor.again()),
    };
    PageCut { items, next }
}

fn again(mut cursor: ListCursor, rows: Vec<InboxRow>, end: Option<(u64, ConvId)>, limit: usize) -> PageCut {
    let mut items = Vec::new();
    let mut rows = rows
        .into_iter()
        .filter(|row| cursor.comes_again(row))
        .collect::<Vec<_>>()
        .into_iter();
    let mut at = None;
    for row in rows.by_ref().take(limit) {
        cursor.show(&row);
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

/// Whether a row comes after the place, the latest first.
fn is_behind(ms: u64, conv: &ConvId, (at, last): &(u64, ConvId)) -> bool {
    ms < *at || ms == *at && conv > last
}

// === impl ListCursor ===

impl ListCursor {
    /// By what a row is sorted: its own time only if it was among those that were asked about on the first page.
    fn position(&self, row: &InboxRow) -> u64 {
        let Placed { ms, large, .. } = row.placed;
        if ms >= self.young && !large { row.ts } else { ms }
    }

    fn show(&mut self, row: &InboxRow) {
        if row.ts.max(row.placed.ms) >= self.young {
            self.remember(&row.placed.conv, row.s);
        }
    }

    fn comes_again(&self, row: &InboxRow) -> bool {
        match self.was_seen(&row.placed.conv, row.s) {
            Some(seen) => !seen,
            // How far a row is whose owner is silent nobody knows.
            None => row.s.is_none() || row.ts.max(row.placed.ms) >= self.since,
        }
    }
}

#[cfg(test)]
mod tests;
