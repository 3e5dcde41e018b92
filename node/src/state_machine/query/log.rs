//! Windows of the log: `open`, `hist` and `sync`.
//!
//! Events are always contiguous and ascending. A window is bounded in events and in bytes ([`WINDOW_BYTES`]). Excess
//! events are cut off on the far side, so the result always touches the requested cursor (`hist`) or the end of the log
//! (`open`, `sync`).

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::response::HistoryResponse;
use protocol::{ConversationId, EncodedEvent, UserId, event};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::view::{MemberConversation, view};
use super::{MemberQuery, MemberScatterQuery, QueryContext, QueryError, Result};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{EventKind, EventRow, corrupt};

/// Maximum size of the events of one window in bytes; the first event is returned whatever its size.
pub(super) const WINDOW_BYTES: usize = 160 * 1024;
/// Number of rows per scan.
const SCAN_PAGE: usize = 32;
/// Events that one `open`, or one conversation of a `sync`, returns.
const WINDOW: usize = 50;
/// Query for a conversation as a member sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenQuery {
    pub conv: ConversationId,
    pub user: UserId,
    /// Seq of the client's last event; `None` for a response without events.
    pub have: Option<u64>,
}

/// Query by a member for a page of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HistoryRequest {
    pub conv: ConversationId,
    pub user: UserId,
    pub page: HistoryRange,
    /// Maximum number of events.
    pub limit: u32,
}

/// Query for the missed events of several conversations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncQuery {
    pub user: UserId,
    /// Conversations, each with the seq of the client's last event; 0 starts with the membership.
    pub wants: Vec<(ConversationId, u64)>,
    /// Maximum number of events per conversation.
    pub limit: u32,
}

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

// === impl OpenQuery ===

impl MemberQuery for OpenQuery {
    type Page = MemberConversation;

    fn conv(&self) -> &ConversationId {
        &self.conv
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn read_as(&self, rows: &impl RowReader, reader: &QueryContext) -> Result<MemberConversation> {
        let mut view = view(rows, &self.conv, &self.user, reader)?;
        if let Some(have) = self.have {
            let window = newest(rows, &self.conv, reader, have, WINDOW)?;
            view.events = Some(window.events);
            view.gap = window.gap;
        }
        Ok(view)
    }
}

// === impl HistoryRequest, HistoryPage ===

impl MemberQuery for HistoryRequest {
    type Page = HistoryPage;

    fn conv(&self) -> &ConversationId {
        &self.conv
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn read_as(&self, rows: &impl RowReader, reader: &QueryContext) -> Result<HistoryPage> {
        let (first, last) = (reader.me.floor(&reader.conv), reader.conv.last_s);
        let (from, to, order) = self.page.span(first, last);
        // Fewer events than the range holds were cut by `limit` or by the size: the member can request more.
        let events = window(rows, &self.conv, (from, to), order, self.limit as usize, first)?;
        let more = events.len() as u64 != (to + 1).saturating_sub(from);
        let gap = self.page.has_gap(first, last);
        Ok(HistoryPage { events, more, gap })
    }
}

impl HistoryPage {
    /// Returns the protocol's form. The error is a stored event that is no JSON.
    pub fn page(&self, conv: &ConversationId) -> std::result::Result<HistoryResponse, String> {
        Ok(HistoryResponse {
            conversation: conv.clone(),
            events: encoded(&self.events)?,
            more: self.more,
            gap: self.gap,
        })
    }
}

// === impl SyncQuery, MissedEvents ===

impl MemberScatterQuery for SyncQuery {
    type Item = (ConversationId, u64);
    type Page = MissedEvents;

    fn user(&self) -> &UserId {
        &self.user
    }

    fn items(&self) -> &[(ConversationId, u64)] {
        &self.wants
    }

    fn conv((conv, _): &(ConversationId, u64)) -> &ConversationId {
        conv
    }

    fn part(&self, wants: Vec<(ConversationId, u64)>) -> SyncQuery {
        SyncQuery {
            user: self.user.clone(),
            wants,
            limit: self.limit,
        }
    }

    fn read_item(
        &self,
        rows: &impl RowReader,
        (conv, have): &(ConversationId, u64),
        reader: &QueryContext,
    ) -> Result<MissedEvents> {
        newest(rows, conv, reader, *have, (self.limit as usize).min(WINDOW))
    }
}

impl MissedEvents {
    /// Returns the events in the protocol's form. The error is a stored event that is no JSON.
    pub fn page(&self) -> std::result::Result<Vec<EncodedEvent>, String> {
        encoded(&self.events)
    }
}

/// Returns the newest events above `have`; 0 starts with the membership. There is a gap if events were left out, or if
/// the first one does not continue `have`. So it is if the log ends before `have`, as after a restore of an older copy:
/// the client restarts with the newest.
pub(in crate::state_machine) fn newest(
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
pub(super) fn placed(
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

/// Returns stored events in the protocol's form. The error is an event that is no JSON.
fn encoded(tails: &[Bytes]) -> std::result::Result<Vec<EncodedEvent>, String> {
    tails.iter().map(|tail| EncodedEvent::from_tail(tail)).collect()
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
