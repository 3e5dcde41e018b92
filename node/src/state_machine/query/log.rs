//! Windows of the log: `open`, `hist` and `sync`.
//!
//! Events are always contiguous and ascending. A window is bounded in events and in bytes ([`WINDOW_BYTES`]). Excess
//! events are cut off on the far side, so the result always touches the requested cursor (`hist`) or the end of the log
//! (`open`, `sync`).

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::{ConversationId, UserId, event};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::view::{MemberConversation, view};
use super::{QueryContext, QueryError, Result};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, EventKind, EventRow, MemberRow, VersionedRow, corrupt};

/// Maximum size of the events of one window in bytes; the first event is returned whatever its size.
pub(super) const WINDOW_BYTES: usize = 160 * 1024;
/// Number of rows per scan.
const SCAN_PAGE: usize = 32;

/// Requested page of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HistoryRange {
    /// The newest events of the log.
    Newest,
    /// The newest events below this position.
    Before(u64),
    /// The oldest events above this position.
    After(u64),
}

/// Page of the log, the result of `hist`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HistoryPage {
    /// Tails of the events, ascending.
    pub events: Vec<Bytes>,
    /// True if the member may see more events in the requested direction.
    pub more: bool,
    /// True if the events do not continue the requested position, or the log has no such position.
    pub gap: bool,
}

/// Event with its position in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoggedEvent {
    pub s: u64,
    pub tail: Bytes,
}

/// Events that a user missed behind a position, for a resumed session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// Events behind the position, ascending and without a gap; possibly not all.
    pub events: Vec<LoggedEvent>,
    /// Position of the last event visible to the user.
    pub last: u64,
    /// True if the following events are trimmed or not visible to the user; `events` is empty then.
    pub gap: bool,
    /// Membership at the time of the read.
    pub membership: MembershipSpan,
}

/// Fate of the membership that a user had at some position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MembershipSpan {
    /// The same membership continues.
    Same,
    /// It ended, and another one began.
    Renewed,
    /// It ended, and none followed.
    Over,
}

/// Missed events of one conversation, an item of `delta`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MissedEvents {
    /// Tails of the events, ascending, up to `as_of`.
    pub events: Vec<Bytes>,
    /// True if the events do not continue the client's position: they are the newest.
    pub gap: bool,
    /// Position of the last event.
    pub as_of: u64,
}

// === impl HistoryRange ===

impl HistoryRange {
    /// Returns the range of the page within the visible events `first..=last`, and the scan order.
    pub(super) fn span(self, first: u64, last: u64) -> (u64, u64, ScanOrder) {
        match self {
            // Newest and below: scanned from the end, because the excess is cut off at the far side.
            HistoryRange::Newest => (first, last, ScanOrder::Descending),
            HistoryRange::Before(s) => (first, last.min(s.saturating_sub(1)), ScanOrder::Descending),
            HistoryRange::After(s) => (first.max(s.saturating_add(1)), last, ScanOrder::Ascending),
        }
    }

    /// Returns true if a client with everything up to the requested position misses an event outside of the page.
    /// Either the following events are not among `first..=last`, or the log ends before the position, as after a
    /// restore of an older copy.
    pub(super) fn has_gap(self, first: u64, last: u64) -> bool {
        matches!(self, HistoryRange::After(s) if s > last || s.saturating_add(1) < first)
    }
}

/// Returns the conversation as `user` sees it, with up to `limit` events missed since `have`.
pub fn open(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    have: Option<u64>,
    limit: usize,
) -> Result<MemberConversation> {
    let context = QueryContext::of(rows, conv, user)?;
    let mut view = view(rows, conv, user, &context)?;
    if let Some(have) = have {
        let window = newest(rows, conv, &context, have, limit)?;
        view.events = Some(window.events);
        view.gap = window.gap;
    }
    Ok(view)
}

/// Returns up to `limit` events missed since `have`. Without `have`, or with 0, they start with the membership.
pub fn sync(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    have: Option<u64>,
    limit: usize,
) -> Result<MissedEvents> {
    let context = QueryContext::of(rows, conv, user)?;
    newest(rows, conv, &context, have.unwrap_or(0), limit)
}

/// Returns a page of at most `limit` events of the log.
pub fn history(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    page: HistoryRange,
    limit: usize,
) -> Result<HistoryPage> {
    let context = QueryContext::of(rows, conv, user)?;
    let (first, last) = (context.me.floor(&context.conv), context.conv.last_s);
    let (from, to, order) = page.span(first, last);
    // Fewer events than the range holds were cut by `limit` or by the size: the member can request more.
    let events = window(rows, conv, (from, to), order, limit, first)?;
    let more = events.len() as u64 != (to + 1).saturating_sub(from);
    let gap = page.has_gap(first, last);
    Ok(HistoryPage { events, more, gap })
}

/// Returns up to `limit` of the oldest events above `after` without a permission check: for nodes that missed a part of
/// the fan-out, never for a user. The first event is not `after + 1` if that was trimmed.
pub fn range(
    rows: &impl RowReader,
    conv: &ConversationId,
    after: u64,
    limit: usize,
) -> Result<Vec<LoggedEvent>> {
    let Some(row) = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())? else {
        return Ok(Vec::new());
    };
    // Rows below may still exist while they are swept; they must not be served.
    let floor = ConvRow::decode(&row)?.floor();
    placed(
        rows,
        conv,
        // One below the maximum, because the end of the key range is exclusive.
        (after.saturating_add(1).max(floor), u64::MAX - 1),
        ScanOrder::Ascending,
        limit,
        floor,
    )
}

/// Returns up to `limit` events for `user`, who has everything up to `after` and was a member there. They follow
/// without a gap, up to the event that ended the membership if one did. If the next event is trimmed or was never
/// visible, the result is a gap without events. `after` = 0 starts with the membership.
pub fn missed(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: u64,
    limit: usize,
) -> Result<Missed> {
    let member = rows.get(ChatTable::Member, &keys::member(conv, user))?;
    let row = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
    let (Some(member), Some(row)) = (member, row) else {
        return Err(QueryError::NotMember);
    };
    let (me, row) = (MemberRow::decode(&member)?, ConvRow::decode(&row)?);
    // A session without any position starts at its membership, not at the start of the log.
    let after = if after == 0 {
        me.since.saturating_sub(1)
    } else {
        after
    };
    let next = after.saturating_add(1);
    let (membership, last) = match me.role {
        // A membership that covers `next` is the one of the position; a later start means that it ended in between.
        Some(_) if me.since <= next => (MembershipSpan::Same, row.last_s),
        Some(_) => (MembershipSpan::Renewed, after),
        None => (MembershipSpan::Over, me.until),
    };
    let gap = next < me.since.max(row.floor()) && after < last || membership == MembershipSpan::Renewed;
    let events = if gap {
        Vec::new()
    } else {
        placed(
            rows,
            conv,
            (next, last),
            ScanOrder::Ascending,
            limit,
            me.floor(&row),
        )?
    };
    Ok(Missed {
        // An empty result below `last` also counts as a gap: the session must not repeat a read that yields nothing.
        gap: gap || events.is_empty() && after < last,
        events,
        last,
        membership,
    })
}

/// Returns the newest events above `have`; 0 starts with the membership. There is a gap if events were left out, or if
/// the first one does not continue `have`. So it is if the log ends before `have`, as after a restore of an older copy:
/// the client restarts with the newest.
fn newest(
    rows: &impl RowReader,
    conv: &ConversationId,
    context: &QueryContext,
    have: u64,
    limit: usize,
) -> Result<MissedEvents> {
    let last = context.conv.last_s;
    let beyond = have > last;
    let have = if have == 0 || beyond {
        context.me.since - 1
    } else {
        have
    };
    let floor = context.me.floor(&context.conv);
    let from = have.saturating_add(1).max(floor);
    let events = window(rows, conv, (from, last), ScanOrder::Descending, limit, floor)?;
    let gap = beyond || (events.len() as u64) < last.saturating_sub(have);
    Ok(MissedEvents {
        events,
        gap,
        as_of: last,
    })
}

/// Returns the tails of the events of `span` in ascending order; of too many, the first in `order`. `floor` is the
/// first visible event, see [`visible`].
fn window(
    rows: &impl RowReader,
    conv: &ConversationId,
    span: (u64, u64),
    order: ScanOrder,
    limit: usize,
    floor: u64,
) -> Result<Vec<Bytes>> {
    let events = placed(rows, conv, span, order, limit, floor)?;
    Ok(events.into_iter().map(|event| event.tail).collect())
}

/// Returns the same events with their positions.
fn placed(
    rows: &impl RowReader,
    conv: &ConversationId,
    (mut from, mut to): (u64, u64),
    order: ScanOrder,
    limit: usize,
    floor: u64,
) -> Result<Vec<LoggedEvent>> {
    let mut events: Vec<LoggedEvent> = Vec::new();
    let mut bytes = 0;
    'pages: while from <= to && events.len() < limit {
        let (start, end) = (
            keys::message(conv, from),
            keys::message(conv, to.saturating_add(1)),
        );
        let found = rows.scan(
            ChatTable::Message,
            &start..&end,
            order,
            SCAN_PAGE.min(limit - events.len()),
        )?;
        if found.is_empty() {
            break;
        }
        // Rows of a range are contiguous, so the number of rows advances the position.
        match order {
            ScanOrder::Ascending => from += found.len() as u64,
            ScanOrder::Descending => to = to.saturating_sub(found.len() as u64),
        }
        for (key, row) in &found {
            let s = keys::seq_of(conv, key)
                .ok_or_else(|| QueryError::Storage(corrupt("a malformed key of an event")))?;
            let tail = visible(EventRow::decode(row)?, floor);
            bytes += tail.len();
            // One event may exceed the window alone; without it the reader would never advance.
            if bytes > WINDOW_BYTES && !events.is_empty() {
                break 'pages;
            }
            events.push(LoggedEvent { s, tail });
        }
    }
    if order == ScanOrder::Descending {
        events.reverse();
    }
    Ok(events)
}

/// Returns the tail for a reader who may see the events from `floor` on. An edit of an earlier message keeps its place
/// without its text, as if the message had been deleted.
pub(super) fn visible(event: EventRow, floor: u64) -> Bytes {
    // With the whole log visible no edit can concern a hidden message, which spares parsing the tail.
    if event.kind == EventKind::Edit && floor > 1 {
        return without_words(&event.tail, floor).unwrap_or(event.tail);
    }
    event.tail
}

/// Returns the tail of an edit without its text if it concerns a message below `floor`; `None` otherwise.
pub fn without_words(tail: &[u8], floor: u64) -> Option<Bytes> {
    let tail = std::str::from_utf8(tail).ok()?;
    let of = event::edited(tail)?;
    (of < floor).then(|| event::tombstone(tail).into())
}
