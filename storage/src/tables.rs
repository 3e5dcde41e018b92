//! The applied state of one shard: tables of rows, read by key and by range.
//!
//! Reads are of the newest committed state; several reads that must agree go through a [`View`]. An import
//! swaps the whole state at once by moving to the next generation; a read that began before the swap and ended
//! after it is repeated, so nobody sees half of each.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::{Batch, Read, Visit};
use crate::inner::{Inner, Shard};
use crate::queue::Kind;
use crate::{Error, Export, Import, ShardId, Table, Transaction, View, keys, record};

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The applied state of one shard. Cheap to clone.
///
/// Every call may block on the disk: not for the threads of an actor system or an async runtime's core.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
}

/// Rows of a table: the caller's key, and the value.
pub(crate) type Rows = Vec<(Bytes, Bytes)>;

// === impl State ===

impl State {
    pub(crate) fn new(inner: Arc<Inner>, shard: Arc<Shard>) -> State {
        State { inner, shard }
    }

    /// Returns the shard.
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// Returns a row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.steady(|rows, generation| {
            rows.payload(Column::State(table), &keys::state(self.shard.id, generation, key))
        })
    }

    /// Returns up to `limit` rows of `range`; an empty `range.end` means the end of the table.
    pub fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.steady(|rows, generation| {
            scan(
                rows,
                self.shard.id,
                generation,
                table,
                range.clone(),
                order,
                limit,
            )
        })
    }

    /// Returns a view of this moment.
    pub fn view(&self) -> View {
        View::new(self.inner.clone(), self.shard.id)
    }

    /// Starts a transaction. One at a time per shard: the caller applies in log order.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.inner.clone(), self.shard.clone())
    }

    /// Returns the applied position, as given to the last commit or import.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        self.steady(|rows, generation| rows.payload(Column::Hard, &keys::applied(self.shard.id, generation)))
    }

    /// Makes every state write so far durable; call it before a snapshot position is reported, since the log up to
    /// there may then be purged. Blocks for an fsync.
    pub fn sync(&self) -> Result<(), Error> {
        self.inner.synced(Batch::default(), Kind::Other)
    }

    /// Starts a consistent export of this moment.
    pub fn export(&self) -> Result<Export, Error> {
        Export::new(self.inner.clone(), self.shard.id)
    }

    /// Starts an import beside the current state. One at a time per shard, and no transaction meanwhile.
    pub fn import(&self) -> Result<Import, Error> {
        Import::new(self.inner.clone(), self.shard.clone())
    }

    /// Removes log, hard state and applied state of the shard, synced. Blocks for an fsync.
    pub fn destroy(&self) -> Result<(), Error> {
        let shard = self.shard.id;
        let mut batch = Batch::default();
        batch.delete_range(
            Column::Log,
            keys::log(shard, 0),
            keys::log(shard, keys::INDEX_END),
        );
        for table in Table::ALL {
            let range = (keys::state_prefix(shard, 0), keys::state_prefix(shard, u32::MAX));
            batch.delete_range(Column::State(table), range.0, range.1);
        }
        let (from, to) = keys::hard_range(shard);
        batch.delete_range(Column::Hard, from, to);
        self.inner.synced(batch, Kind::Truncate { shard, from: 0 })?;
        self.shard.generation.store(0, Ordering::Release);
        self.shard.purged.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Repeats a read that an import's swap overtook.
    fn steady<T>(&self, read: impl Fn(&dyn Read, u32) -> Result<T, Error>) -> Result<T, Error> {
        let engine = self.inner.engine()?;
        loop {
            let generation = self.shard.generation();
            let result = read(&*engine, generation);
            if self.shard.generation() == generation {
                return result;
            }
        }
    }
}

/// Returns up to `limit` rows of a table.
pub(crate) fn scan(
    rows: &dyn Read,
    shard: ShardId,
    generation: u32,
    table: Table,
    range: Range<&[u8]>,
    order: Order,
    limit: usize,
) -> Result<Rows, Error> {
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

/// Visits the rows of a table by the caller's key, values checked.
pub(crate) fn visit(
    rows: &dyn Read,
    shard: ShardId,
    generation: u32,
    table: Table,
    range: Range<&[u8]>,
    order: Order,
    each: Visit<'_>,
) -> Result<(), Error> {
    let column = Column::State(table);
    let from = keys::state(shard, generation, range.start);
    let to = if range.end.is_empty() {
        keys::state_prefix(shard, generation + 1).to_vec()
    } else {
        keys::state(shard, generation, range.end)
    };
    if from >= to {
        return Ok(());
    }
    rows.scan(column, &from, &to, order, &mut |key, value| {
        each(keys::state_key(key), record::open_slice(column, key, value)?)
    })
}
