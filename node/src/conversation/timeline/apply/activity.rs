//! Messages as the shards of their members learn of them: one row per conversation and window, not one per message.
//!
//! A message in a conversation that is not watched begins a watch: one row of the outbox, in the message's own
//! transaction. While there is a watch, messages cost nothing more. The owner tells the members' shards at once, again
//! for as long as there is something new at the end of each window, and ends the watch after one without.

use protocol::ConvId;
use protocol::answer::Last;
use storage::Table;

use super::super::command::Activity;
use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, Moved, OutboxId};
use super::super::rows::{ConvRow, IndexRow};
use super::super::work::Work;
use super::{Result, index};

/// Begins a watch over the conversation unless there is one. The caller goes on to write the row.
pub(super) fn watch(work: &mut Work<'_, impl RowsMut>, conv: &ConvId, row: &mut ConvRow) -> Effect {
    if row.watched {
        return Effect::None;
    }
    row.watched = true;
    work.rows.put(Table::Outbox, &keys::watch(conv), b"");
    Effect::Watched
}

/// Ends watches over conversations whose last message was told.
pub(super) fn end(work: &mut Work<'_, impl RowsMut>, items: &[(ConvId, u64)]) -> Result<Applied> {
    for (conv, s) in items {
        if let Some(mut row) = work.conv(conv)?.filter(|row| row.watched && row.message_s <= *s) {
            row.watched = false;
            work.set_conv(conv, row);
            work.rows.delete(Table::Outbox, &keys::watch(conv));
        }
    }
    Ok(Applied::silent(Effect::None))
}

/// Moves conversations of users. What is older than what is there changes nothing, so a repetition does no harm.
pub(super) fn put(work: &mut Work<'_, impl RowsMut>, items: &[Activity]) -> Result<Applied> {
    let mut moved = Vec::new();
    for Activity {
        conv,
        last,
        large,
        users,
    } in items
    {
        for user in users {
            let known = index::get(work, &keys::index(user, conv))?;
            if known.as_ref().is_some_and(|known| known.last.s >= last.s) {
                continue;
            }
            // The news of the membership may come later: any version of it is greater than this.
            let row = IndexRow {
                last: *last,
                large: *large,
                ..known.clone().unwrap_or(STRANGER)
            };
            index::set(work, user, conv, known.as_ref(), &row);
            if row.member {
                moved.push(Moved {
                    user: user.clone(),
                    conv: conv.clone(),
                    last: *last,
                });
            }
        }
    }
    Ok(Applied::silent(Effect::Moved(moved)))
}

/// The row of one of whose membership this shard has not heard.
const STRANGER: IndexRow = IndexRow {
    member: false,
    version: OutboxId { index: 0, n: 0 },
    at_ms: 0,
    last: Last { s: 0, mn: 0, ts: 0 },
    large: false,
};
