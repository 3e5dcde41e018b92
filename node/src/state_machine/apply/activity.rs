//! Activity notes to the shards of the members: one row per conversation and window, not one per message.
//!
//! A message in a conversation without an activity watch starts a watch: one outbox row, in the message's own
//! transaction. Later messages cost nothing more while the watch lasts. The shard owner notifies the members' shards at
//! once, and again at the end of each window with new messages. It ends the watch after one window without.

use crate::state_machine::ChatTable;
use protocol::ConversationId;
use protocol::response::LastEvent;

use super::{Result, erase, index};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::command::ActivityNote;
use crate::state_machine::keys;
use crate::state_machine::outcome::{ApplyEffect, MovedMember, OutboxId, OutboxOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, IndexRow};

/// Starts an activity watch for the conversation unless it has one. The caller writes the conversation row.
pub(super) fn watch(
    work: &mut ApplyContext<'_, impl RowWriter>,
    conv: &ConversationId,
    row: &mut ConvRow,
) -> ApplyEffect {
    if row.watched {
        return ApplyEffect::None;
    }
    row.watched = true;
    // The row outlives the owner: the next owner finds the watch and notifies the members at once.
    work.rows.put(ChatTable::Outbox, &keys::watch(conv), b"");
    ApplyEffect::Watched
}

/// Ends the activity watches whose last message is at or below the given position.
pub(super) fn end(
    work: &mut ApplyContext<'_, impl RowWriter>,
    items: &[(ConversationId, u64)],
) -> Result<OutboxOutcome> {
    for (conv, s) in items {
        // A message behind `s` was committed after the note; ending the watch here would lose its activity note.
        if let Some(mut row) = work.conv(conv)?.filter(|row| row.watched && row.message_s <= *s) {
            row.watched = false;
            work.set_conv(conv, row);
            work.rows.delete(ChatTable::Outbox, &keys::watch(conv));
        }
    }
    Ok(OutboxOutcome::Removed)
}

/// Moves conversations to the time of their last message in the lists of their members. An older or equal position
/// changes nothing, so a repeated command is harmless.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    items: &[ActivityNote],
) -> Result<OutboxOutcome> {
    let mut moved = Vec::new();
    for ActivityNote {
        conv,
        last,
        large,
        users,
    } in items
    {
        for user in users {
            let known = index::get(work, &keys::index(user, conv))?;
            if known.as_ref().is_some_and(|known| known.last.seq >= last.seq) {
                continue;
            }
            // Late for a user who is erased: the row would come back without a membership.
            if known.is_none() && erase::is_erased(work, user)? {
                continue;
            }
            // The membership change may arrive later over the outbox: every real version is greater than that of
            // `NON_MEMBER`.
            let row = IndexRow {
                last: *last,
                large: *large,
                ..known.clone().unwrap_or(NON_MEMBER)
            };
            index::set(work, user, conv, known.as_ref(), &row);
            // A former member keeps the position in its row, but sees no activity of the conversation.
            if row.member {
                moved.push(MovedMember {
                    user: user.clone(),
                    conv: conv.clone(),
                    last: *last,
                });
            }
        }
    }
    Ok(OutboxOutcome::Moved(moved))
}

/// Row of a user whose membership this shard has not recorded yet.
const NON_MEMBER: IndexRow = IndexRow {
    member: false,
    version: OutboxId { index: 0, n: 0 },
    at_ms: 0,
    last: LastEvent {
        seq: 0,
        message_number: 0,
        timestamp_ms: 0,
    },
    large: false,
};
