//! Block list of a user, from the user's shard.

use crate::state_machine::ChatTable;
use protocol::UserId;
use protocol::rest::BlockList;
use serde::{Deserialize, Serialize};

use super::live_rows::live_rows;
use super::{QueryError, Result, ShardQuery};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{BlockRow, VersionedRow, corrupt};

/// Query for a page of the users whom a user blocks. A new block is in force shortly before it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlocksQuery {
    pub user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub after: Option<UserId>,
    pub limit: u32,
}

/// Page of a user's blocked users, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlocksPage {
    pub items: Vec<UserId>,
    /// Cursor of the next page: the last id of this one; `None` on the last page.
    pub next: Option<UserId>,
}

// === impl BlocksQuery, BlocksPage ===

impl ShardQuery for BlocksQuery {
    type Page = BlocksPage;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<BlocksPage> {
        let user = self.user.as_str();
        let (start, end) = keys::second_range_after(user, self.after.as_ref().map(UserId::as_str));
        let blocked = |key: &[u8]| {
            let other = keys::rest(user, key).and_then(|other| UserId::parse(other).ok());
            other.ok_or_else(|| QueryError::Storage(corrupt("a malformed block key")))
        };
        // Removed blocks leave a row.
        let item = |key: &[u8], row: &[u8]| match BlockRow::decode(row)?.on {
            true => blocked(key).map(Some),
            false => Ok(None),
        };
        let limit = self.limit as usize;
        let page = live_rows(rows, ChatTable::UserIndex, start..end, limit, usize::MAX, item)?;
        let next = page.next.map(|key| blocked(&key)).transpose()?;
        Ok(BlocksPage {
            items: page.items,
            next,
        })
    }
}

impl BlocksPage {
    /// Returns the protocol's form.
    #[must_use]
    pub fn page(self) -> BlockList {
        BlockList {
            items: self.items,
            next: self.next.map(|user| user.as_str().to_owned()),
        }
    }
}
