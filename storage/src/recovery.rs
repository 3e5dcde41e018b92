//! What is read and tidied when a store opens.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::info;

use crate::columns::{Column, Table};
use crate::engine::{Batch, Engine, Read};
use crate::inner::Shard;
use crate::record;
use crate::{Error, Order, ShardId, keys};

/// After the last key of any shard: no shard's key is longer than 64 bytes of ones.
const END: [u8; 64] = [u8::MAX; 64];

/// Returns the shards that have state, each with the generation that is read, and drops the rows of all other
/// generations: of imports that did not finish, or whose old rows were not all gone.
pub(crate) fn shards(engine: &dyn Engine) -> Result<HashMap<ShardId, Arc<Shard>>, Error> {
    let mut shards = HashMap::new();
    for id in shards_of(engine, Column::Hard)? {
        shards.insert(id, Arc::new(Shard::new(id, generation(engine, id)?)));
    }
    let mut sweep = Batch::default();
    for table in Table::ALL {
        for id in shards_of(engine, Column::State(table))? {
            let current = shards.get(&id).map_or(0, |shard| shard.generation());
            sweep_table(engine, table, id, current, &mut sweep)?;
        }
    }
    if !sweep.is_empty() {
        info!(ranges = sweep.ops.len(), "dropping leftovers of imports");
        engine.write(sweep)?;
    }
    Ok(shards)
}

/// Returns the generation of a shard's state that is read.
pub(crate) fn generation(rows: &dyn Read, id: ShardId) -> Result<u32, Error> {
    let key = keys::generation(id);
    let Some(payload) = rows.payload(Column::Hard, &key)? else {
        return Ok(0);
    };
    let number = payload[..]
        .try_into()
        .map_err(|_| record::corrupt(Column::Hard, &key, "not a generation"))?;
    Ok(u32::from_be_bytes(number))
}

/// Returns the number of the last synced round in the database.
pub(crate) fn last_round(rows: &dyn Read) -> Result<u64, Error> {
    let Some(payload) = rows.payload(Column::Node, keys::ROUND)? else {
        return Ok(0);
    };
    let number = payload[..]
        .try_into()
        .map_err(|_| record::corrupt(Column::Node, keys::ROUND, "not a round"))?;
    Ok(u64::from_be_bytes(number))
}

/// Returns the shards that have rows in a family, ascending: one seek a shard.
pub(crate) fn shards_of(rows: &dyn Read, column: Column) -> Result<Vec<ShardId>, Error> {
    let mut shards = Vec::new();
    let mut from = 0_u16;
    loop {
        let Some(key) = rows.first_key(column, &from.to_be_bytes(), &END, Order::Ascending)? else {
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
    table: Table,
    id: ShardId,
    current: u32,
    sweep: &mut Batch,
) -> Result<(), Error> {
    let column = Column::State(table);
    let start = keys::state_prefix(id, current);
    let next = keys::state_prefix(id, current + 1);
    for (from, to) in [
        (keys::state_prefix(id, 0), start),
        (next, keys::state_prefix(id, u32::MAX)),
    ] {
        if engine.first_key(column, &from, &to, Order::Ascending)?.is_some() {
            sweep.delete_range(column, from, to);
        }
    }
    Ok(())
}
