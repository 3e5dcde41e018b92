//! Time at which a user was last seen, stored in the user's shard. Only the shard owner proposes it, never a client.

use crate::conversation::state_machine::TableId;

use super::{CommandOrigin, Result};
use crate::conversation::state_machine::apply_context::ApplyContext;
use crate::conversation::state_machine::keys;
use crate::conversation::state_machine::outcome::{ApplyEffect, CommandResult};
use crate::conversation::state_machine::row_store::RowWriter;
use crate::conversation::state_machine::rows::{LastSeenRow, VersionedRow};

/// Writes the time unless a later one exists. A time in the future is reduced to the batch's, because it could not be
/// overwritten until then.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandOrigin<'_>,
    at_ms: u64,
) -> Result<CommandResult> {
    let at_ms = at_ms.min(work.now_ms);
    let key = keys::seen(by.user);
    let known = work.rows.get(TableId::UserIndex, &key)?;
    let known = known.map(|row| LastSeenRow::decode(&row)).transpose()?;
    // A repeated or delayed proposal must not move the time backwards.
    if known.is_none_or(|known| known.at_ms < at_ms) {
        let row = LastSeenRow { at_ms };
        work.rows.put(TableId::UserIndex, &key, &row.encode());
    }
    Ok(CommandResult::silent(ApplyEffect::None))
}
