//! Membership rows in the user's shard. Each change arrives through the outbox of the conversation's shard, possibly
//! twice or late; the latest version wins.

use crate::state_machine::ChatTable;
use protocol::response::LastEvent;
use protocol::{ConversationId, UserId};

use super::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::{OutboxId, OutboxOutcome, UserOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{IndexRow, VersionedRow};

/// Writes the user's row unless a newer version exists. A row of a former member is retained, so that a late repetition
/// of an older change does not restore the conversation.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    conversation: &ConversationId,
    member: bool,
    version: OutboxId,
    at_ms: u64,
) -> Result<UserOutcome> {
    let outcome = |changed| UserOutcome::Indexed {
        conversation: conversation.clone(),
        changed,
        member,
    };
    let key = keys::index(user, conversation);
    let known = get(work, &key)?;
    if known.as_ref().is_some_and(|known| known.version >= version) {
        return Ok(outcome(false));
    }
    // Activity notes have versions of their own and may arrive before the membership: their position must survive.
    let (last, large) = known
        .as_ref()
        .map_or((LastEvent::default(), false), |known| (known.last, known.large));
    let row = IndexRow {
        member,
        version,
        at_ms,
        last,
        large,
    };
    set(work, user, conversation, known.as_ref(), &row);
    Ok(outcome(true))
}

/// Returns a user's row for a conversation.
pub(super) fn get(work: &ApplyContext<'_, impl RowWriter>, key: &[u8]) -> Result<Option<IndexRow>> {
    let row = work.rows.get(ChatTable::UserIndex, key)?;
    Ok(row.map(|row| IndexRow::decode(&row)).transpose()?)
}

/// Writes a user's row for a conversation in place of `known`, and its entry in the order by time.
pub(super) fn set(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    conv: &ConversationId,
    known: Option<&IndexRow>,
    row: &IndexRow,
) {
    let bytes = row.encode();
    // The old entry has another key; left behind, it would list the conversation twice.
    if let Some(known) = known.filter(|known| known.member) {
        let key = keys::order(user, known.order_ms(), conv);
        work.rows.delete(ChatTable::UserIndex, &key);
    }
    // The entry by time repeats the row, so that a page of the list reads one range.
    if row.member {
        let key = keys::order(user, row.order_ms(), conv);
        work.rows.put(ChatTable::UserIndex, &key, &bytes);
    }
    work.rows
        .put(ChatTable::UserIndex, &keys::index(user, conv), &bytes);
}

/// Removes outbox entries that the other shard has applied. Missing entries are ignored.
pub(super) fn outbox_done(work: &mut ApplyContext<'_, impl RowWriter>, ids: &[OutboxId]) -> OutboxOutcome {
    for id in ids {
        work.rows.delete(ChatTable::Outbox, &keys::outbox(*id));
    }
    OutboxOutcome::Removed
}
