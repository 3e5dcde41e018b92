//! Conversations with events past the retention policy, which the owner trims with [`Retain`].
//!
//! Times and ordinals only grow with positions, so the first retained event is found by bisection however long the log
//! is.
//!
//! [`Retain`]: crate::state_machine::ShardCommand::Retention

use std::time::Duration;

use crate::state_machine::ChatTable;
use protocol::{ConversationId, ConversationKind, EncodedEvent};
use storage::ScanOrder;

use super::{QueryError, Result};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, EventRow, VersionedRow, corrupt};

/// Retention policy; the default retains everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionPolicy {
    /// Maximum age of an event; `None` means no bound.
    pub max_age: Option<Duration>,
    /// Maximum number of messages; older ones and the events before them are trimmed. `None` means no bound.
    pub max_messages: Option<u64>,
}

/// Retention policy per kind of conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionPolicies {
    pub direct: RetentionPolicy,
    pub group: RetentionPolicy,
    pub channel: RetentionPolicy,
}

/// Page of conversations with events to trim.
#[derive(Clone, PartialEq, Debug)]
pub struct RetentionPage {
    /// Conversations, each with the first event to retain.
    pub items: Vec<(ConversationId, u64)>,
    /// Cursor of the next page: the last conversation read; `None` on the last page.
    pub next: Option<ConversationId>,
}

// === impl RetentionPolicies ===

impl RetentionPolicies {
    /// Returns true if every kind retains everything.
    pub fn keep_all(&self) -> bool {
        *self == RetentionPolicies::default()
    }

    fn of(&self, kind: ConversationKind) -> RetentionPolicy {
        match kind {
            ConversationKind::Direct => self.direct,
            ConversationKind::Group => self.group,
            ConversationKind::Channel => self.channel,
        }
    }
}

/// Checks up to `limit` conversations above `after` against the policies.
pub fn due(
    rows: &impl RowReader,
    after: Option<&ConversationId>,
    limit: usize,
    policies: &RetentionPolicies,
    now_ms: u64,
) -> Result<RetentionPage> {
    let mut start = after
        .map(|conv| conv.as_str().as_bytes().to_vec())
        .unwrap_or_default();
    if after.is_some() {
        start.push(0);
    }
    // Ids are ASCII, so this end lies above every key.
    let found = rows.scan(
        ChatTable::Conversation,
        &start..&[0x80][..],
        ScanOrder::Ascending,
        limit,
    )?;
    let mut items = Vec::new();
    let mut last = None;
    for (key, row) in &found {
        let conv = std::str::from_utf8(key)
            .ok()
            .and_then(|conv| ConversationId::parse(conv).ok());
        let conv = conv.ok_or_else(|| QueryError::Storage(corrupt("a malformed conversation key")))?;
        let row = ConvRow::decode(row)?;
        if let Some(below) = below(rows, &conv, &row, policies.of(row.kind), now_ms)? {
            items.push((conv.clone(), below));
        }
        last = Some(conv);
    }
    let next = last.filter(|_| found.len() == limit);
    Ok(RetentionPage { items, next })
}

/// Returns the first event to retain; `None` if there is nothing to trim and no row left to remove.
fn below(
    rows: &impl RowReader,
    conv: &ConversationId,
    row: &ConvRow,
    policy: RetentionPolicy,
    now_ms: u64,
) -> Result<Option<u64>> {
    let mut below = row.floor();
    if let Some(most) = policy.max_messages
        && row.last_mn > row.gone_mn.saturating_add(most)
    {
        let first_retained = row.last_mn - most + 1;
        below = below.max(first(rows, conv, row, |event| Ok(event.mn >= first_retained))?);
    }
    if let Some(age) = policy.max_age {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let since = now_ms.saturating_sub(age);
        // The last time bounds all others: nothing else has to be read if even the last event has expired.
        if row.last_ts < since {
            below = row.last_s + 1;
        } else if let Some(oldest) = at(rows, conv, below)?
            // The oldest retained event decides in one read; most conversations have nothing to trim and skip the
            // bisection.
            && ts(&oldest)? < since
        {
            below = below.max(first(rows, conv, row, |event| Ok(ts(event)? >= since))?);
        }
    }
    // A position above the last event requests its redaction, which may be done already.
    let silent = below <= row.last_s || row.blanked == row.last_s;
    // Rows below the first retained position may be left over from earlier steps: the conversation stays due until they
    // are removed.
    let done = below.min(row.last_s) <= row.floor() && silent && row.swept.max(1) >= row.floor();
    Ok((!done).then_some(below))
}

/// Returns the first event for which `stays` holds, as for all later ones; the position behind the last event if none
/// does.
fn first(
    rows: &impl RowReader,
    conv: &ConversationId,
    row: &ConvRow,
    stays: impl Fn(&EventRow) -> Result<bool>,
) -> Result<u64> {
    let (mut low, mut high) = (row.floor(), row.last_s + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let event =
            at(rows, conv, middle)?.ok_or_else(|| QueryError::Storage(corrupt("a gap in the log")))?;
        if stays(&event)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

fn at(rows: &impl RowReader, conv: &ConversationId, s: u64) -> Result<Option<EventRow>> {
    let row = rows.get(ChatTable::Message, &keys::message(conv, s))?;
    Ok(row.map(|row| EventRow::decode(&row)).transpose()?)
}

fn ts(event: &EventRow) -> Result<u64> {
    let event = EncodedEvent::from_tail(&event.tail)
        .ok()
        .and_then(|event| event.event());
    let position = event.as_ref().and_then(|event| event.position());
    let (_, _, ts) = position.ok_or_else(|| QueryError::Storage(corrupt("an event without a time")))?;
    Ok(ts)
}
