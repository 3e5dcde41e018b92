//! Whom a user blocks, as the user's shard knows it.

use protocol::UserId;
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{BlockRow, Row, corrupt};
use super::{Denied, Result};

/// A page of those whom a user blocks, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlocksPage {
    /// The users.
    pub items: Vec<UserId>,
    /// Where the next page begins.
    pub next: Option<UserId>,
}

/// Returns up to `limit` of those whom `user` blocks, above `after`.
pub fn blocks(rows: &impl Rows, user: &UserId, after: Option<&UserId>, limit: usize) -> Result<BlocksPage> {
    let (mut start, end) = keys::second_range_after(user.as_str(), after.map(UserId::as_str));
    let mut items: Vec<UserId> = Vec::new();
    loop {
        let found = rows.scan(
            Table::UserIndex,
            &start..&end,
            Order::Ascending,
            limit.saturating_add(1),
        )?;
        for (key, row) in &found {
            if !BlockRow::decode(row)?.on {
                continue;
            }
            if items.len() == limit {
                let next = items.last().cloned();
                return Ok(BlocksPage { items, next });
            }
            let other = keys::rest(user.as_str(), key).and_then(|other| UserId::parse(other).ok());
            items.push(other.ok_or_else(|| Denied::Storage(corrupt("a malformed block key")))?);
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
