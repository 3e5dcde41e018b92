//! Windows of the log: `open`, `hist` and `sync`.
//!
//! Events are always contiguous and ascending. A window is bounded in events and in bytes ([`WINDOW_BYTES`]); what
//! doesn't fit is cut off on the far side, so what is returned always touches the cursor that was asked from (`hist`)
//! or the end of the log (`open`, `sync`).

use bytes::Bytes;
use protocol::{ConvId, UserId, event};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{ConvRow, EventKind, EventRow, MemberRow, Row, corrupt};
use super::view::{ConvView, view};
use super::{Denied, Result, Seat};

/// The most bytes of events in one window; the first event is returned however large it is.
pub(super) const WINDOW_BYTES: usize = 160 * 1024;
/// How many rows are read in one step.
const SCAN_PAGE: usize = 32;

/// Which page of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Page {
    /// The newest.
    Newest,
    /// The newest below this `s`.
    Before(u64),
    /// The oldest above this `s`.
    After(u64),
}

/// A page of the log: `hist`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The tails of the events, ascending.
    pub events: Vec<Bytes>,
    /// Whether there are more in the direction asked for that the member may see.
    pub more: bool,
    /// The events don't begin right behind the place asked for, or there is no such place in the log.
    pub gap: bool,
}

/// An event at its place in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Logged {
    /// The place.
    pub s: u64,
    /// The stored tail.
    pub tail: Bytes,
}

/// What one user missed who has everything up to some place: the question of a session that goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// The events behind that place, ascending and without a hole; perhaps not all.
    pub events: Vec<Logged>,
    /// The last event that is for the user.
    pub last: u64,
    /// What follows that place is gone, or is not for the user: there are no events here.
    pub gap: bool,
    /// What the user is by now.
    pub membership: Membership,
}

/// What became of the membership that a user had at some place of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Membership {
    /// It goes on.
    Same,
    /// It ended, and another has begun.
    Renewed,
    /// It ended.
    Over,
}

/// What was missed in one conversation: an item of `delta`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// The tails of the events, ascending, up to `as_of`.
    pub events: Vec<Bytes>,
    /// The events don't start where the client stands: they are the newest.
    pub gap: bool,
    /// The last event.
    pub as_of: u64,
}

// === impl Page ===

impl Page {
    /// Returns what the page is taken from, of the events `first..=last` that may be seen, and from which end.
    pub(super) fn span(self, first: u64, last: u64) -> (u64, u64, Order) {
        match self {
            Page::Newest => (first, last, Order::Descending),
            Page::Before(s) => (first, last.min(s.saturating_sub(1)), Order::Descending),
            Page::After(s) => (first.max(s.saturating_add(1)), last, Order::Ascending),
        }
    }

    /// Whether one who has everything up to the place asked from misses something that is not in the page: what
    /// followed is not among the events `first..=last`, or the log ends before that place, as it does when it was
    /// restored from an older copy.
    pub(super) fn has_gap(self, first: u64, last: u64) -> bool {
        matches!(self, Page::After(s) if s > last || s.saturating_add(1) < first)
    }
}

/// Returns the conversation as `user` sees it, with what was missed since `have`, up to `limit` events.
pub fn open(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    have: Option<u64>,
    limit: usize,
) -> Result<ConvView> {
    let seat = Seat::of(rows, conv, user)?;
    let mut view = view(rows, conv, user, &seat)?;
    if let Some(have) = have {
        let window = newest(rows, conv, &seat, have, limit)?;
        view.events = Some(window.events);
        view.gap = window.gap;
    }
    Ok(view)
}

/// Returns what was missed since `have`, up to `limit` events. Without `have`, or with 0, since the start of membership.
pub fn sync(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    have: Option<u64>,
    limit: usize,
) -> Result<Window> {
    let seat = Seat::of(rows, conv, user)?;
    newest(rows, conv, &seat, have.unwrap_or(0), limit)
}

/// Returns a page of the log of at most `limit` events.
pub fn history(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    page: Page,
    limit: usize,
) -> Result<HistoryPage> {
    let seat = Seat::of(rows, conv, user)?;
    let (first, last) = (seat.me.floor(&seat.conv), seat.conv.last_s);
    let (from, to, order) = page.span(first, last);
    let events = window(rows, conv, (from, to), order, limit, first)?;
    let more = events.len() as u64 != (to + 1).saturating_sub(from);
    let gap = page.has_gap(first, last);
    Ok(HistoryPage { events, more, gap })
}

/// Returns the oldest events above `after`, up to `limit` of them, whoever asks: for nodes that missed a part of the
/// fan-out, never for a user. The first is not the one after `after` if that is gone.
pub fn range(rows: &impl Rows, conv: &ConvId, after: u64, limit: usize) -> Result<Vec<Logged>> {
    let Some(row) = rows.get(Table::Conversation, conv.as_str().as_bytes())? else {
        return Ok(Vec::new());
    };
    let floor = ConvRow::decode(&row)?.floor();
    placed(
        rows,
        conv,
        (after.saturating_add(1).max(floor), u64::MAX - 1),
        Order::Ascending,
        limit,
        floor,
    )
}

/// Returns up to `limit` events for `user`, who has everything up to `after` and was a member there: those that follow
/// without a hole, up to the one that ended the membership, if one did. What is gone or was never for the user is a gap,
/// and then there are none. One who has nothing (0) starts where the membership does.
pub fn missed(rows: &impl Rows, conv: &ConvId, user: &UserId, after: u64, limit: usize) -> Result<Missed> {
    let member = rows.get(Table::Member, &keys::member(conv, user))?;
    let row = rows.get(Table::Conversation, conv.as_str().as_bytes())?;
    let (Some(member), Some(row)) = (member, row) else {
        return Err(Denied::NotMember);
    };
    let (me, row) = (MemberRow::decode(&member)?, ConvRow::decode(&row)?);
    let after = if after == 0 {
        me.since.saturating_sub(1)
    } else {
        after
    };
    let next = after.saturating_add(1);
    let (membership, last) = match me.role {
        Some(_) if me.since <= next => (Membership::Same, row.last_s),
        Some(_) => (Membership::Renewed, after),
        None => (Membership::Over, me.until),
    };
    let gap = next < me.since.max(row.floor()) && after < last || membership == Membership::Renewed;
    let events = if gap {
        Vec::new()
    } else {
        placed(rows, conv, (next, last), Order::Ascending, limit, me.floor(&row))?
    };
    Ok(Missed {
        gap: gap || events.is_empty() && after < last,
        events,
        last,
        membership,
    })
}

/// Returns the newest events above `have`; one who has nothing starts where the membership does. There is a gap if some
/// were left out, or if the first of them can't be put after `have`. So it is if the log ends before `have`, as it does
/// when it was restored from an older copy: the client begins anew with the newest.
fn newest(rows: &impl Rows, conv: &ConvId, seat: &Seat, have: u64, limit: usize) -> Result<Window> {
    let last = seat.conv.last_s;
    let beyond = have > last;
    let have = if have == 0 || beyond {
        seat.me.since - 1
    } else {
        have
    };
    let floor = seat.me.floor(&seat.conv);
    let from = have.saturating_add(1).max(floor);
    let events = window(rows, conv, (from, last), Order::Descending, limit, floor)?;
    let gap = beyond || (events.len() as u64) < last.saturating_sub(have);
    Ok(Window {
        events,
        gap,
        as_of: last,
    })
}

/// Returns the tails of the events of `span` in ascending order; of too many, those that come first in `order`. `floor`
/// is the first event that may be seen, see [`shown`].
fn window(
    rows: &impl Rows,
    conv: &ConvId,
    span: (u64, u64),
    order: Order,
    limit: usize,
    floor: u64,
) -> Result<Vec<Bytes>> {
    let events = placed(rows, conv, span, order, limit, floor)?;
    Ok(events.into_iter().map(|event| event.tail).collect())
}

/// The same, each at its place.
fn placed(
    rows: &impl Rows,
    conv: &ConvId,
    (mut from, mut to): (u64, u64),
    order: Order,
    limit: usize,
    floor: u64,
) -> Result<Vec<Logged>> {
    let mut events: Vec<Logged> = Vec::new();
    let mut bytes = 0;
    'pages: while from <= to && events.len() < limit {
        let (start, end) = (
            keys::message(conv, from),
            keys::message(conv, to.saturating_add(1)),
        );
        let found = rows.scan(
            Table::Message,
            &start..&end,
            order,
            SCAN_PAGE.min(limit - events.len()),
        )?;
        if found.is_empty() {
            break;
        }
        match order {
            Order::Ascending => from += found.len() as u64,
            Order::Descending => to = to.saturating_sub(found.len() as u64),
        }
        for (key, row) in &found {
            let s = keys::place(conv, key)
                .ok_or_else(|| Denied::Storage(corrupt("a malformed key of an event")))?;
            let tail = shown(EventRow::decode(row)?, floor);
            bytes += tail.len();
            if bytes > WINDOW_BYTES && !events.is_empty() {
                break 'pages;
            }
            events.push(Logged { s, tail });
        }
    }
    if order == Order::Descending {
        events.reverse();
    }
    Ok(events)
}

/// Returns the tail as it may be shown to one who may see the events from `floor` on: an edit of a message from before
/// keeps its place without its words, as if the message had been deleted.
pub(super) fn shown(event: EventRow, floor: u64) -> Bytes {
    if event.kind == EventKind::Edit && floor > 1 {
        return without_words(&event.tail, floor).unwrap_or(event.tail);
    }
    event.tail
}

/// Returns the tail of an edit without its words, if it is of a message below `floor`.
pub fn without_words(tail: &[u8], floor: u64) -> Option<Bytes> {
    let tail = std::str::from_utf8(tail).ok()?;
    let of = event::edited(tail)?;
    (of < floor).then(|| event::tombstone(tail).into())
}
