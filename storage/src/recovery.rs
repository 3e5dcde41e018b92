//! Recovery at open: reads the shards and removes leftovers of unfinished imports.

use std::collections::BTreeMap;

use tracing::info;

use crate::columns::Column;
use crate::engine::{Engine, EngineRead, WriteBatch};
use crate::{Error, ScanOrder, ShardId, TableCatalog, TableId, keys, record};

/// Exclusive upper bound of all keys. No key starts with 64 bytes 0xff: its index or generation is smaller.
const END: [u8; 64] = [u8::MAX; 64];

/// Returns the shards that have hard state, each with its current generation. Removes the rows of all other
/// generations, which imports left behind that did not finish or were not swept.
pub(crate) fn shards(engine: &dyn Engine, tables: TableCatalog) -> Result<BTreeMap<ShardId, u32>, Error> {
    let mut shards = BTreeMap::new();
    for id in shards_of(engine, Column::Hard)? {
        shards.insert(id, generation(engine, id)?);
    }
    let mut sweep = WriteBatch::default();
    for &table in tables.tables() {
        for id in shards_of(engine, Column::State(table))? {
            // Without a row in `Hard` no import has finished, so generation 0 is current.
            let current = shards.get(&id).copied().unwrap_or(0);
            sweep_table(engine, table, id, current, &mut sweep)?;
        }
    }
    // Not synced: a crash before it is durable leaves the same leftovers for the next open.
    if !sweep.is_empty() {
        info!(
            ranges = sweep.ops.len(),
            "deleting the data of unfinished imports"
        );
        engine.write(sweep)?;
    }
    Ok(shards)
}

/// Returns the current generation of a shard's state; 0 if no import ever finished.
pub(crate) fn generation(rows: &dyn EngineRead, id: ShardId) -> Result<u32, Error> {
    let key = keys::generation(id);
    let Some(payload) = rows.payload(Column::Hard, &key)? else {
        return Ok(0);
    };
    let number = payload[..]
        .try_into()
        .map_err(|_| record::corrupt(Column::Hard, &key, "not a generation"))?;
    Ok(u32::from_be_bytes(number))
}

/// Returns the number of the last synced commit group in the database; 0 if there is none.
pub(crate) fn last_round(rows: &dyn EngineRead) -> Result<u64, Error> {
    let Some(payload) = rows.payload(Column::Node, keys::ROUND)? else {
        return Ok(0);
    };
    let number = payload[..]
        .try_into()
        .map_err(|_| record::corrupt(Column::Node, keys::ROUND, "not a commit group number"))?;
    Ok(u64::from_be_bytes(number))
}

/// Returns the shards that have rows in a family, ascending, with one seek per shard.
pub(crate) fn shards_of(rows: &dyn EngineRead, column: Column) -> Result<Vec<ShardId>, Error> {
    let mut shards = Vec::new();
    let mut from = 0_u16;
    loop {
        let Some(key) = rows.first_key(column, &from.to_be_bytes(), &END, ScanOrder::Ascending)? else {
            return Ok(shards);
        };
        let id = keys::shard(&key).ok_or_else(|| record::corrupt(column, &key, "key without a shard"))?;
        shards.push(id);
        match id.0.checked_add(1) {
            Some(next) => from = next,
            None => return Ok(shards),
        }
    }
}

fn sweep_table(
    engine: &dyn Engine,
    table: TableId,
    id: ShardId,
    current: u32,
    sweep: &mut WriteBatch,
) -> Result<(), Error> {
    let column = Column::State(table);
    let start = keys::state_prefix(id, current);
    let next = keys::state_prefix(id, current + 1);
    for (from, to) in [
        (keys::state_prefix(id, 0), start),
        (next, keys::state_prefix(id, u32::MAX)),
    ] {
        // A range tombstone is written only if it deletes a row: one per table and open would slow later reads.
        if engine
            .first_key(column, &from, &to, ScanOrder::Ascending)?
            .is_some()
        {
            sweep.delete_range(column, from, to);
        }
    }
    Ok(())
}
