//! What a user's shard knows for those who want to make the user a member.

use protocol::{ConvId, GroupInvite, UserId};
use storage::Table;

use super::super::consent::WishesRow;
use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{IndexRow, Row};
use super::Result;

/// Returns who may make the user a member of groups and channels.
pub fn wishes(rows: &impl Rows, user: &UserId) -> Result<GroupInvite> {
    let row = rows.get(Table::UserIndex, &keys::wishes(user))?;
    let row = row.map(|row| WishesRow::decode(&row)).transpose()?;
    Ok(row.unwrap_or_default().group_invite)
}

/// Returns the first of the conversations that the user is in.
pub fn shared_with(rows: &impl Rows, user: &UserId, convs: &[ConvId]) -> Result<Option<ConvId>> {
    for conv in convs {
        let row = rows.get(Table::UserIndex, &keys::index(user, conv))?;
        let row = row.map(|row| IndexRow::decode(&row)).transpose()?;
        if row.is_some_and(|row| row.member) {
            return Ok(Some(conv.clone()));
        }
    }
    Ok(None)
}
