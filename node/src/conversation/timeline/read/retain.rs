//! Which conversations have events whose time has come, for the owner to let them go by [`Op::Retain`].
//!
//! Places and times only grow together, and so do places and ordinals: what has to go is found by bisection, however
//! long the log is.
//!
//! [`Op::Retain`]: super::super::Op::Retain

use std::time::Duration;

use protocol::{ConvId, Kind, RawEvent};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{ConvRow, EventRow, Row, corrupt};
use super::{Denied, Result};

/// How long and how much is kept; nothing given: everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Events older than this go.
    pub max_age: Option<Duration>,
    /// Of more messages than this the oldest go, and with them what stands before the oldest kept.
    pub max_messages: Option<u64>,
}

/// The policy of each kind of conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    /// Direct conversations.
    pub direct: Policy,
    /// Groups.
    pub group: Policy,
    /// Channels.
    pub channel: Policy,
}

/// A page of conversations, those among them from which something has to go.
#[derive(Clone, PartialEq, Debug)]
pub struct Due {
    /// Each with the first event that stays.
    pub items: Vec<(ConvId, u64)>,
    /// The last conversation looked at, if there are more.
    pub next: Option<ConvId>,
}

// === impl Policies ===

impl Policies {
    /// Returns whether everything is kept.
    pub fn keep_all(&self) -> bool {
        *self == Policies::default()
    }

    fn of(&self, kind: Kind) -> Policy {
        match kind {
            Kind::Direct => self.direct,
            Kind::Group => self.group,
            Kind::Channel => self.channel,
        }
    }
}

/// Looks at up to `limit` conversations above `after`.
pub fn due(
    rows: &impl Rows,
    after: Option<&ConvId>,
    limit: usize,
    policies: &Policies,
    now_ms: u64,
) -> Result<Due> {
    let mut start = after
        .map(|conv| conv.as_str().as_bytes().to_vec())
        .unwrap_or_default();
    if after.is_some() {
        start.push(0);
    }
    // Ids are ASCII.
    let found = rows.scan(Table::Conversation, &start..&[0x80][..], Order::Ascending, limit)?;
    let mut items = Vec::new();
    let mut last = None;
    for (key, row) in &found {
        let conv = std::str::from_utf8(key)
            .ok()
            .and_then(|conv| ConvId::parse(conv).ok());
        let conv = conv.ok_or_else(|| Denied::Storage(corrupt("a malformed conversation key")))?;
        let row = ConvRow::decode(row)?;
        if let Some(below) = below(rows, &conv, &row, policies.of(row.kind), now_ms)? {
            items.push((conv.clone(), below));
        }
        last = Some(conv);
    }
    let next = last.filter(|_| found.len() == limit);
    Ok(Due { items, next })
}

/// Returns the first event that stays, if something has to go or to be removed.
fn below(rows: &impl Rows, conv: &ConvId, row: &ConvRow, policy: Policy, now_ms: u64) -> Result<Option<u64>> {
    let mut below = row.floor();
    if let Some(most) = policy.max_messages
        && row.last_mn > row.later.gone_mn.saturating_add(most)
    {
        let kept = row.last_mn - most + 1;
        below = below.max(first(rows, conv, row, |event| Ok(event.mn >= kept))?);
    }
    if let Some(age) = policy.max_age {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let since = now_ms.saturating_sub(age);
        if row.last_ts < since {
            below = row.last_s + 1;
        } else if let Some(oldest) = at(rows, conv, below)?
            && ts(&oldest)? < since
        {
            below = below.max(first(rows, conv, row, |event| Ok(ts(event)? >= since))?);
        }
    }
    let silent = below <= row.last_s || row.later.blanked == row.last_s;
    let done = below.min(row.last_s) <= row.floor() && silent && row.later.swept.max(1) >= row.floor();
    Ok((!done).then_some(below))
}

/// Returns the first event for which `stays` holds, as for all after it; the one after the last if there is none.
fn first(
    rows: &impl Rows,
    conv: &ConvId,
    row: &ConvRow,
    stays: impl Fn(&EventRow) -> Result<bool>,
) -> Result<u64> {
    let (mut low, mut high) = (row.floor(), row.last_s + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let event = at(rows, conv, middle)?.ok_or_else(|| Denied::Storage(corrupt("a hole in the log")))?;
        if stays(&event)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

fn at(rows: &impl Rows, conv: &ConvId, s: u64) -> Result<Option<EventRow>> {
    let row = rows.get(Table::Message, &keys::message(conv, s))?;
    Ok(row.map(|row| EventRow::decode(&row)).transpose()?)
}

fn ts(event: &EventRow) -> Result<u64> {
    let event = RawEvent::from_tail(&event.tail)
        .ok()
        .and_then(|event| event.event());
    let place = event.as_ref().and_then(|event| event.place());
    let (_, _, ts) = place.ok_or_else(|| Denied::Storage(corrupt("an event without a time")))?;
    Ok(ts)
}
