//! Rows of a user's shard that decide about additions of the user.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, GroupInvite, UserId};
use serde::{Deserialize, Serialize};

use super::{Result, ShardQuery};
use crate::state_machine::consent::WishesRow;
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{IndexRow, VersionedRow};

/// Query for a user's own setting for invitations by others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WishesQuery {
    pub user: UserId,
}

/// Query for the first of several conversations that the user is a member of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SharedWith {
    pub user: UserId,
    pub convs: Vec<ConversationId>,
}

// === impl WishesQuery, SharedWith ===

impl ShardQuery for WishesQuery {
    type Page = GroupInvite;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<GroupInvite> {
        let row = rows.get(ChatTable::UserIndex, &keys::wishes(&self.user))?;
        let row = row.map(|row| WishesRow::decode(&row)).transpose()?;
        Ok(row.unwrap_or_default().group_invite)
    }
}

impl ShardQuery for SharedWith {
    type Page = Option<ConversationId>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<Option<ConversationId>> {
        for conv in &self.convs {
            let row = rows.get(ChatTable::UserIndex, &keys::index(&self.user, conv))?;
            let row = row.map(|row| IndexRow::decode(&row)).transpose()?;
            if row.is_some_and(|row| row.member) {
                return Ok(Some(conv.clone()));
            }
        }
        Ok(None)
    }
}
