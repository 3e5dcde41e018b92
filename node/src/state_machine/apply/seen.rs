//! Time at which a user was last seen, stored in the user's shard. Only the shard owner proposes it, never a client.

use crate::state_machine::ChatTable;
use protocol::UserId;

use super::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::UserOutcome;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{LastSeenRow, VersionedRow};

/// Writes the time unless a later one exists. A time in the future is reduced to the batch's, because it could not be
/// overwritten until then.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    at_ms: u64,
) -> Result<UserOutcome> {
    let at_ms = at_ms.min(work.now_ms);
    let key = keys::seen(user);
    let known = work.rows.get(ChatTable::UserIndex, &key)?;
    let known = known.map(|row| LastSeenRow::decode(&row)).transpose()?;
    // A repeated or delayed proposal must not move the time backwards.
    if known.is_none_or(|known| known.at_ms < at_ms) {
        let row = LastSeenRow { at_ms };
        work.rows.put(ChatTable::UserIndex, &key, &row.encode());
    }
    Ok(UserOutcome::Recorded)
}
