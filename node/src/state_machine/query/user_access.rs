//! Access of a user.

use protocol::UserId;
use serde::{Deserialize, Serialize};

use super::{Result, ShardQuery};
use crate::state_machine::ChatTable;
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;
use crate::state_machine::user_access::UserAccess;

/// Query for the access of a user, who need not have a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserAccessQuery {
    pub user: UserId,
}

// === impl UserAccessQuery ===

impl ShardQuery for UserAccessQuery {
    type Page = UserAccess;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<UserAccess> {
        let row = rows.get(ChatTable::UserIndex, &keys::access(&self.user))?;
        let row = row.map(|row| UserAccess::decode(&row)).transpose()?;
        Ok(row.unwrap_or_default())
    }
}
