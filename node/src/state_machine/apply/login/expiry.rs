//! Rows with an expiry time: each has an entry ordered by expiry, and a sweep removes a bounded number of expired rows.
//! The shard owner proposes sweeps while expired rows exist.

use crate::state_machine::ChatTable;
use storage::ScanOrder;

use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::RetentionOutcome;
use crate::state_machine::row_store::RowWriter;

/// Maximum number of rows that one sweep removes.
const SWEEP: usize = 256;

/// Writes a row that expires at `ends_ms`. `before_ms` is the expiry of the row that it replaces; `None` if there is
/// none.
pub(in crate::state_machine::apply) fn put(
    rows: &mut impl RowWriter,
    key: &[u8],
    row: &[u8],
    before_ms: Option<u64>,
    ends_ms: u64,
) {
    // A sweep deletes rows by these entries without reading them: a stale entry would delete the extended row.
    if let Some(before_ms) = before_ms.filter(|before_ms| *before_ms != ends_ms) {
        rows.delete(ChatTable::Login, &keys::login_expiry(before_ms, key));
    }
    if before_ms != Some(ends_ms) {
        rows.put(ChatTable::Login, &keys::login_expiry(ends_ms, key), b"");
    }
    rows.put(ChatTable::Login, key, row);
}

/// Removes a row and its expiry entry before its expiry.
pub(in crate::state_machine::apply) fn remove(rows: &mut impl RowWriter, key: &[u8], ends_ms: u64) {
    rows.delete(ChatTable::Login, &keys::login_expiry(ends_ms, key));
    rows.delete(ChatTable::Login, key);
}

/// Removes one page of expired login rows, with their expiry entries.
pub(in crate::state_machine::apply) fn sweep(
    work: &mut ApplyContext<'_, impl RowWriter>,
) -> Result<RetentionOutcome> {
    // The majority's time decides, so that a node with a fast clock cannot expire logins early.
    let (start, end) = keys::login_expiries_until(work.reached_ms);
    let over = work
        .rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, SWEEP)?;
    for (ending, _) in &over {
        if let Some(key) = keys::expiring_login_row(ending) {
            work.rows.delete(ChatTable::Login, key);
        }
        work.rows.delete(ChatTable::Login, ending);
    }
    Ok(RetentionOutcome::Swept {
        rows: over.len() as u64,
        // A full page may be followed by more; the owner then proposes the next sweep at once.
        more: over.len() == SWEEP,
    })
}
