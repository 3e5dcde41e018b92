//! Login rows of a shard: the keyring, and the presence of expired rows.

use crate::state_machine::ChatTable;
use storage::ScanOrder;

use super::Result;
use crate::state_machine::keys;
use crate::state_machine::login::Keyring;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;

/// Returns the keyring; `None` in any shard but that of the keyring, or before the first key.
pub fn keyring(rows: &impl RowReader) -> Result<Option<Keyring>> {
    let row = rows.get(ChatTable::Login, &keys::KEYRING)?;
    Ok(row.map(|row| Keyring::decode(&row)).transpose()?)
}

/// Returns true if a row has expired at `now_ms`, so that a sweep removes something.
pub fn is_over(rows: &impl RowReader, now_ms: u64) -> Result<bool> {
    let (start, end) = keys::login_expiries_until(now_ms);
    Ok(!rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, 1)?
        .is_empty())
}
