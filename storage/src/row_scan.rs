//! Scans of a table's rows in one generation of a shard.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::{EngineRead, Visit};
use crate::{Error, ScanOrder, ShardId, TableId, keys, record};

/// Rows of a table: pairs of the caller's key and the value.
pub(crate) type RowIter = Vec<(Bytes, Bytes)>;

/// Returns up to `limit` rows of a table.
pub(crate) fn scan(
    rows: &dyn EngineRead,
    shard: ShardId,
    generation: u32,
    table: TableId,
    range: Range<&[u8]>,
    order: ScanOrder,
    limit: usize,
) -> Result<RowIter, Error> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    visit(rows, shard, generation, table, range, order, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(if found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Visits the rows of a table with the caller's key and the checked value.
pub(crate) fn visit(
    rows: &dyn EngineRead,
    shard: ShardId,
    generation: u32,
    table: TableId,
    range: Range<&[u8]>,
    order: ScanOrder,
    each: Visit<'_>,
) -> Result<(), Error> {
    let column = Column::State(table);
    let from = keys::state(shard, generation, range.start);
    // Without an end the next generation bounds the scan, or it would continue into other rows.
    let to = if range.end.is_empty() {
        keys::state_prefix(shard, generation + 1).to_vec()
    } else {
        keys::state(shard, generation, range.end)
    };
    // RocksDB's iterator bounds must not be reversed.
    if from >= to {
        return Ok(());
    }
    rows.scan(column, &from, &to, order, &mut |key, value| {
        each(keys::state_key(key), record::open_slice(column, key, value)?)
    })
}
