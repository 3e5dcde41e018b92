//! What logins left: the keys of the cluster, and when the first row is over.

use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::login::Keyring;
use super::super::rows::Row;
use super::Result;

/// Returns the keys, if this is the shard of `keys` and any were made.
pub fn keyring(rows: &impl Rows) -> Result<Option<Keyring>> {
    let row = rows.get(Table::UserIndex, &keys::keyring())?;
    Ok(row.map(|row| Keyring::decode(&row)).transpose()?)
}

/// Returns whether a row is over at `now_ms`, so that a sweep has something to remove.
pub fn is_over(rows: &impl Rows, now_ms: u64) -> Result<bool> {
    let (start, end) = keys::endings_until(now_ms);
    Ok(!rows
        .scan(Table::UserIndex, &start..&end, Order::Ascending, 1)?
        .is_empty())
}
