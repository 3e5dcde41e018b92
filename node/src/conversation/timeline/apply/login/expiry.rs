//! Rows that end by themselves: each has an entry in the order of the ends, and a sweep removes what is over, a bounded
//! number at a time. The owner of the shard asks for sweeps while there is something to remove.

use storage::{Order, Table};

use super::super::super::door::RowsMut;
use super::super::super::keys;
use super::super::super::outcome::Applied;
use super::super::super::work::Work;
use super::super::Result;
use super::answer;

/// Rows that one sweep removes.
const SWEEP: usize = 256;

/// Writes a row that ends at `ends_ms`; `before_ms` is the end of the row that was there.
pub(super) fn put(rows: &mut impl RowsMut, key: &[u8], row: &[u8], before_ms: Option<u64>, ends_ms: u64) {
    if let Some(before_ms) = before_ms.filter(|before_ms| *before_ms != ends_ms) {
        rows.delete(Table::UserIndex, &keys::ending(before_ms, key));
    }
    if before_ms != Some(ends_ms) {
        rows.put(Table::UserIndex, &keys::ending(ends_ms, key), b"");
    }
    rows.put(Table::UserIndex, key, row);
}

/// Removes a row before its end.
pub(super) fn remove(rows: &mut impl RowsMut, key: &[u8], ends_ms: u64) {
    rows.delete(Table::UserIndex, &keys::ending(ends_ms, key));
    rows.delete(Table::UserIndex, key);
}

/// Removes rows that are over; `s` says how many, `mn` whether there may be more.
pub(super) fn sweep(work: &mut Work<'_, impl RowsMut>) -> Result<Applied> {
    let (start, end) = keys::endings_until(work.reached_ms);
    let over = work
        .rows
        .scan(Table::UserIndex, &start..&end, Order::Ascending, SWEEP)?;
    for (ending, _) in &over {
        if let Some(key) = keys::what_ends(ending) {
            work.rows.delete(Table::UserIndex, key);
        }
        work.rows.delete(Table::UserIndex, ending);
    }
    let more = u64::from(over.len() == SWEEP);
    Ok(answer(work, over.len() as u64, more))
}
