//! Block list of a user, from the user's shard.

use crate::state_machine::ChatTable;
use protocol::UserId;
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::{QueryError, Result};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{BlockRow, VersionedRow, corrupt};

/// Page of a user's blocked users, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlocksPage {
    pub items: Vec<UserId>,
    /// Cursor of the next page: the last id of this one; `None` on the last page.
    pub next: Option<UserId>,
}

/// Returns up to `limit` users whom `user` blocks, above `after`.
pub fn blocks(
    rows: &impl RowReader,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<BlocksPage> {
    let (mut start, end) = keys::second_range_after(user.as_str(), after.map(UserId::as_str));
    let mut items: Vec<UserId> = Vec::new();
    loop {
        let found = rows.scan(
            ChatTable::UserIndex,
            &start..&end,
            ScanOrder::Ascending,
            limit.saturating_add(1),
        )?;
        for (key, row) in &found {
            // Removed blocks leave a row, so a scan may yield fewer entries than rows and has to continue.
            if !BlockRow::decode(row)?.on {
                continue;
            }
            // One row more than the page exists, so there is a next page.
            if items.len() == limit {
                let next = items.last().cloned();
                return Ok(BlocksPage { items, next });
            }
            let other = keys::rest(user.as_str(), key).and_then(|other| UserId::parse(other).ok());
            items.push(other.ok_or_else(|| QueryError::Storage(corrupt("a malformed block key")))?);
        }
        match found.last() {
            Some((key, _)) if found.len() > limit => {
                start = key.to_vec();
                start.push(0);
            }
            _ => return Ok(BlocksPage { items, next: None }),
        }
    }
}
