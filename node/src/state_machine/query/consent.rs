//! Rows of a user's shard that decide about additions of the user.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, GroupInvite, UserId};

use super::Result;
use crate::state_machine::consent::WishesRow;
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{IndexRow, VersionedRow};

/// Returns the users who may add the user to groups and channels.
pub fn wishes(rows: &impl RowReader, user: &UserId) -> Result<GroupInvite> {
    let row = rows.get(ChatTable::UserIndex, &keys::wishes(user))?;
    let row = row.map(|row| WishesRow::decode(&row)).transpose()?;
    Ok(row.unwrap_or_default().group_invite)
}

/// Returns the first of the conversations with the user as a member; `None` without one.
pub fn shared_with(
    rows: &impl RowReader,
    user: &UserId,
    convs: &[ConversationId],
) -> Result<Option<ConversationId>> {
    for conv in convs {
        let row = rows.get(ChatTable::UserIndex, &keys::index(user, conv))?;
        let row = row.map(|row| IndexRow::decode(&row)).transpose()?;
        if row.is_some_and(|row| row.member) {
            return Ok(Some(conv.clone()));
        }
    }
    Ok(None)
}
