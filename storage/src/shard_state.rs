//! Applied state of one shard: tables of rows, read by key and by range.
//!
//! A read returns the newest committed state; several reads that must be consistent use a
//! [`ReadView`]. An import replaces the whole state by moving to the next generation. A read that
//! overlaps the move is repeated, so no result mixes two generations.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::{EngineRead, WriteBatch};
use crate::store_core::{ShardEntry, StoreCore};
use crate::write_op::WriteKind;
use crate::{
    Error, ReadView, ScanOrder, ShardId, SnapshotExport, SnapshotImport, TableId, Transaction, keys, row_scan,
};

/// Handle of the applied state of one shard. Cheap to clone.
///
/// Every call may block on the disk: do not call it on actor threads or on core threads of an async runtime.
#[derive(Debug, Clone)]
pub struct ShardState {
    inner: Arc<StoreCore>,
    shard: Arc<ShardEntry>,
}

// === impl ShardState ===

impl ShardState {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: Arc<ShardEntry>) -> ShardState {
        ShardState { inner, shard }
    }

    /// Returns the id of the shard.
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// Returns a row; `None` if there is none.
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.steady(|rows, generation| {
            rows.payload(Column::State(table), &keys::state(self.shard.id, generation, key))
        })
    }

    /// Returns up to `limit` rows of `range`; an empty `range.end` means the end of the table.
    pub fn scan(
        &self,
        table: TableId,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.steady(|rows, generation| {
            row_scan::scan(
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

    /// Returns a consistent view of the current state.
    pub fn view(&self) -> ReadView {
        ReadView::new(self.inner.clone(), self.shard.id)
    }

    /// Starts a transaction. At most one per shard at a time: the caller applies in log order.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.inner.clone(), self.shard.clone())
    }

    /// Returns the applied position of the last commit or import; `None` before the first.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        self.steady(|rows, generation| rows.payload(Column::Hard, &keys::applied(self.shard.id, generation)))
    }

    /// Makes every earlier state write durable. Blocks for an fsync. Call it before a snapshot position is reported,
    /// since the log up to that position may then be purged.
    pub fn sync(&self) -> Result<(), Error> {
        // An empty batch is enough: one write-ahead log holds all writes, and its fsync covers the earlier ones.
        self.inner.writes.synced(WriteBatch::default(), WriteKind::Other)
    }

    /// Starts a consistent export of the current state.
    pub fn export(&self) -> Result<SnapshotExport, Error> {
        SnapshotExport::new(self.inner.clone(), self.shard.id)
    }

    /// Starts an import beside the current state. At most one per shard, and no transaction while it runs.
    pub fn import(&self) -> Result<SnapshotImport, Error> {
        SnapshotImport::new(self.inner.clone(), self.shard.clone())
    }

    /// Removes log, hard state and applied state of the shard. Blocks for an fsync.
    pub fn destroy(&self) -> Result<(), Error> {
        let shard = self.shard.id;
        let mut batch = WriteBatch::default();
        batch.delete_range(
            Column::Log,
            keys::log(shard, 0),
            keys::log(shard, keys::INDEX_END),
        );
        for &table in self.inner.tables.tables() {
            let range = (keys::state_prefix(shard, 0), keys::state_prefix(shard, u32::MAX));
            batch.delete_range(Column::State(table), range.0, range.1);
        }
        let (from, to) = keys::hard_range(shard);
        batch.delete_range(Column::Hard, from, to);
        // `Truncate` from 0 also clears the writer's record of a refused append, so that a new replica can append from
        // 1.
        self.inner
            .writes
            .synced(batch, WriteKind::Truncate { shard, from: 0 })?;
        // Only after success: a failed write must leave readers on the generation that is still on disk.
        // The purge start is reset too, or a purge of the new log would skip its low indexes.
        self.shard.generation.store(0, Ordering::Release);
        self.shard.purged.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Repeats a read during which an import replaced the state.
    fn steady<T>(&self, read: impl Fn(&dyn EngineRead, u32) -> Result<T, Error>) -> Result<T, Error> {
        let engine = self.inner.engine()?;
        loop {
            let generation = self.shard.generation();
            let result = read(&*engine, generation);
            // Rows of the old generation may be swept as soon as the number has moved: the result can have holes.
            if self.shard.generation() == generation {
                return result;
            }
        }
    }
}
