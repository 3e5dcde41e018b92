//! Page of the rows that are in force, for tables whose removed entries leave a row.

use std::ops::Range;

use bytes::Bytes;
use storage::ScanOrder;

use super::Result;
use crate::state_machine::ChatTable;
use crate::state_machine::row_store::RowReader;

/// Rows of one page.
pub(super) struct LiveRows<T> {
    pub(super) items: Vec<T>,
    /// Key behind which the next page begins; `None` on the last page.
    pub(super) next: Option<Bytes>,
}

/// Returns up to `limit` items of the rows in `range`, in ascending order of the keys. `item` returns `None` for a row
/// that is not in force. With more than about `max_rows` such rows the page gets shorter, not slower.
pub(super) fn live_rows<T>(
    rows: &impl RowReader,
    table: ChatTable,
    range: Range<Vec<u8>>,
    limit: usize,
    max_rows: usize,
    mut item: impl FnMut(&[u8], &[u8]) -> Result<Option<T>>,
) -> Result<LiveRows<T>> {
    let Range { mut start, end } = range;
    // One row more than the page reveals the existence of a next page.
    let batch = limit.saturating_add(1);
    let mut items = Vec::new();
    let (mut last, mut read) = (None, 0_usize);
    loop {
        let found = rows.scan(table, &start..&end, ScanOrder::Ascending, batch)?;
        for (key, row) in &found {
            // A scan may yield fewer items than rows and has to continue.
            let Some(item) = item(key, row)? else { continue };
            if items.len() == limit {
                return Ok(LiveRows { items, next: last });
            }
            items.push(item);
            last = Some(key.clone());
        }
        read = read.saturating_add(found.len());
        match found.last() {
            Some((key, _)) if found.len() == batch => {
                if read >= max_rows {
                    // The last row read, even if it is not in force: the next page resumes behind it.
                    let next = Some(key.clone());
                    return Ok(LiveRows { items, next });
                }
                start = [&key[..], &[0]].concat();
            }
            _ => return Ok(LiveRows { items, next: None }),
        }
    }
}
