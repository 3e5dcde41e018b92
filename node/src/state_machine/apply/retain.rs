//! `retain`: trims the oldest events of a conversation. The owner chooses the position by its node's settings;
//! everything else is decided here, the same on every replica.
//!
//! The first retained position rises by at most a [`SHARE`] of the retained events, whatever the command names: a wrong
//! setting or clock costs no more in one round. Events below it are invisible at once. Their rows are removed in steps
//! of [`STEP`], so that no log entry takes long to apply. The last event keeps its place for ever, because the next is
//! numbered after it and lists show it; when it expires, its text is redacted instead. Dedup rows (`cid`) follow a rule
//! of their own.

use crate::state_machine::ChatTable;
use protocol::ConversationId;
use storage::ScanOrder;

use super::message::{blank, unalert};
use super::{Result, not_member};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::message_state::MessageStateRow;
use crate::state_machine::outcome::RetentionOutcome;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, EventKind, VersionedRow, corrupt};
use crate::state_machine::{deleted, keys, message_state};

/// Divisor of the share that one command trims: the oldest quarter of the events, rounded up. A smaller share would
/// leave a busy conversation behind a short maximum age. A larger one would leave an operator too little time to notice
/// a mistake.
const SHARE: u64 = 4;

/// Approximate number of rows that one command removes.
pub(in crate::state_machine) const STEP: usize = 512;

/// Raises the first retained position towards `below` and removes rows below it.
pub(super) fn retain(
    work: &mut ApplyContext<'_, impl RowWriter>,
    conversation: &ConversationId,
    below: u64,
) -> Result<RetentionOutcome> {
    let Some(mut conv) = work.conv(conversation)? else {
        return not_member();
    };
    let before = conv.clone();
    let there = conv.last_s + 1 - conv.floor();
    let below = below.min(conv.floor() + there.div_ceil(SHARE));
    rise(work, conversation, &mut conv, below)?;
    // Reached only when the last event is the only one left, because the share is capped above.
    if below > conv.last_s {
        redact_last(work, conversation, &mut conv)?;
    }
    sweep(work, conversation, &mut conv)?;
    // The owner proposes the command again until nothing is left; a command without effect must not cost a write.
    if conv != before {
        work.set_conv(conversation, conv);
    }
    Ok(RetentionOutcome::Trimmed)
}

/// Raises the first retained position and counts the messages below it as trimmed.
fn rise(
    work: &mut ApplyContext<'_, impl RowWriter>,
    id: &ConversationId,
    conv: &mut ConvRow,
    below: u64,
) -> Result<()> {
    // Never above the last event: its row must exist, because the next event is numbered after it.
    let floor = below.min(conv.last_s);
    if floor > conv.floor() {
        let gone = work.event(id, floor - 1)?;
        let gone = gone.ok_or_else(|| corrupt("a gap in the log"))?;
        conv.gone_mn = conv.gone_mn.max(gone.mn);
        conv.floor = floor;
        // 0 means that nothing was ever swept; positions begin at 1.
        conv.swept = conv.swept.max(1);
    }
    Ok(())
}

/// Redacts the text of the last event.
fn redact_last(
    work: &mut ApplyContext<'_, impl RowWriter>,
    id: &ConversationId,
    conv: &mut ConvRow,
) -> Result<()> {
    let s = conv.last_s;
    if conv.blanked == s {
        return Ok(());
    }
    conv.blanked = s;
    conv.gone_mn = conv.last_mn;
    let last = work.event(id, s)?;
    let last = last.ok_or_else(|| corrupt("a gap in the log"))?;
    match last.kind {
        EventKind::Message => {
            // No event follows the message, so it has no edits whose text would have to be redacted as well.
            blank(work, id, s, &last, EventKind::Tombstone)?;
            let fold = MessageStateRow {
                deleted: Some(s),
                ..MessageStateRow::default()
            };
            fold.put(work.rows, id, s);
            for user in message_state::mentioned(&last) {
                unalert(work, id, s, &user)?;
            }
        }
        EventKind::Edit => blank(work, id, s, &last, EventKind::Edit)?,
        _ => {}
    }
    Ok(())
}

/// Removes rows below the first retained position: reactions, then message states, then deletion counts, then events.
fn sweep(work: &mut ApplyContext<'_, impl RowWriter>, id: &ConversationId, conv: &mut ConvRow) -> Result<()> {
    let (from, to) = (conv.swept, conv.floor());
    if from >= to {
        return Ok(());
    }
    // The events go last: `swept` advances only past them, so a step that runs out of budget resumes with the same
    // range.
    let mut left = STEP;
    let (start, end) = keys::reactions(id, from, to);
    for (key, _) in work
        .rows
        .scan(ChatTable::Message, &start..&end, ScanOrder::Ascending, left)?
    {
        work.rows.delete(ChatTable::Message, &key);
        left -= 1;
    }
    let (start, end) = (keys::fold(id, from), keys::fold(id, to));
    for (key, row) in work
        .rows
        .scan(ChatTable::Message, &start..&end, ScanOrder::Ascending, left)?
    {
        // Edits of a trimmed message may be above the first retained position: they keep their place without text.
        for s in MessageStateRow::decode(&row)?
            .edits
            .into_iter()
            .filter(|s| *s >= to)
        {
            let edit = work.event(id, s)?;
            let edit = edit.ok_or_else(|| corrupt("an edit is missing"))?;
            blank(work, id, s, &edit, EventKind::Edit)?;
        }
        work.rows.delete(ChatTable::Message, &key);
        left -= 1;
    }
    left -= deleted::forget(work.rows, id, conv.gone_mn, left)?;
    let swept = to.min(from + left as u64);
    for s in from..swept {
        work.rows.delete(ChatTable::Message, &keys::message(id, s));
    }
    conv.swept = swept;
    Ok(())
}
