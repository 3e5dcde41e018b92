//! Import of a copy of a shard's state, under the next generation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use fail::fail_point;

use super::chunk::{Chunk, SnapshotRow};
use crate::columns::Column;
use crate::engine::WriteBatch;
use crate::store_core::{ShardEntry, StoreCore};
use crate::write_op::WriteKind;
use crate::{Error, keys};

/// An import in progress. Dropping it unfinished leaves the current state unchanged.
pub struct SnapshotImport {
    pub(super) inner: Arc<StoreCore>,
    shard: Arc<ShardEntry>,
    /// The generation that is written.
    generation: u32,
    pub(super) stream: Option<u32>,
    number: u32,
    pub(super) complete: bool,
    finished: bool,
}

// === impl SnapshotImport ===

impl SnapshotImport {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: Arc<ShardEntry>) -> Result<SnapshotImport, Error> {
        let engine = inner.engine()?;
        // The swap admits one of two concurrent imports: both would write the same generation.
        if shard.importing.swap(true, Ordering::AcqRel) {
            return Err(Error::Misuse("an import of this shard is already running"));
        }
        // Read after the swap: an import that finished just before has moved the number.
        let generation = shard.generation() + 1;
        let import = SnapshotImport {
            inner,
            shard,
            generation,
            stream: None,
            number: 0,
            complete: false,
            finished: false,
        };
        // Rows of an earlier import may remain under this generation, and would mix with the new ones.
        // The guard exists already, so an error here drops it and permits the next import.
        engine
            .write(import.sweep(generation))
            .map_err(|error| import.inner.health.fail(error))?;
        Ok(import)
    }

    /// Adds a chunk of an export; chunks must arrive in order. Blocks for a write, not for an fsync.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the chunk was damaged on its way; drop the import and start again. [`Error::Misuse`]: the
    /// chunk is not the next one of this copy. [`Error::Full`]: drop the import and start again when space is free.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let mut parsed = Chunk::parse(chunk)?;
        if self.complete
            || parsed.number != self.number
            || *self.stream.get_or_insert(parsed.stream) != parsed.stream
        {
            return Err(Error::Misuse("chunk is not the next one of this import"));
        }
        let mut rows = Vec::new();
        while let Some(row) = parsed.next_row(self.inner.tables)? {
            rows.push(row);
        }
        self.write_rows(chunk.len(), rows.into_iter())?;
        // Counted only after the write: a failed chunk must not let the import finish without its rows.
        self.number += 1;
        self.complete = parsed.last;
        Ok(())
    }

    /// Writes rows of a chunk of that many bytes under the new generation.
    pub(super) fn write_rows<'r>(
        &self,
        bytes: usize,
        rows: impl Iterator<Item = SnapshotRow<'r>>,
    ) -> Result<(), Error> {
        let engine = self.inner.engine()?;
        // Refused before the write: after a full disk in the middle of a write RocksDB needs a restart.
        self.inner.space.allow(&*engine, bytes)?;
        let mut batch = WriteBatch::default();
        for (table, key, value) in rows {
            batch.put(
                Column::State(table),
                keys::state(self.shard.id, self.generation, key),
                value,
            );
        }
        fail_point!("storage::import_chunk");
        if batch.is_empty() {
            return Ok(());
        }
        engine.write(batch).map_err(|error| self.inner.health.fail(error))
    }

    /// Replaces the shard's state by the imported one in one synced write, then removes the old rows.
    ///
    /// # Errors
    /// [`Error::Misuse`]: the last chunk was not added, and the old state is unchanged. [`Error::Closed`] and
    /// [`Error::Poisoned`]: the next open finds either the old state or the new one.
    pub fn finish(mut self, applied: Bytes) -> Result<(), Error> {
        if !self.complete {
            return Err(Error::Misuse("the import is not complete"));
        }
        let (shard, old) = (self.shard.id, self.generation - 1);
        let mut flip = WriteBatch::default();
        flip.put(
            Column::Hard,
            keys::generation(shard),
            &self.generation.to_be_bytes(),
        );
        flip.put(Column::Hard, keys::applied(shard, self.generation), &applied);
        flip.delete(Column::Hard, keys::applied(shard, old));
        fail_point!("storage::import_before_flip");
        // Synced through the writer, which also makes the imported rows durable: they were written before, without a
        // sync.
        self.inner.writes.synced(flip, WriteKind::Other)?;
        fail_point!("storage::import_after_flip");
        // Readers move only now, and the old rows are removed after that. A read that overlaps the sweep is repeated.
        self.shard.generation.store(self.generation, Ordering::Release);
        self.finished = true;
        let engine = self.inner.engine()?;
        engine
            .write(self.sweep(old))
            .map_err(|error| self.inner.health.fail(error))
    }

    /// Returns a batch that removes all rows of a generation.
    fn sweep(&self, generation: u32) -> WriteBatch {
        let shard = self.shard.id;
        let mut batch = WriteBatch::default();
        for &table in self.inner.tables.tables() {
            let (from, to) = (
                keys::state_prefix(shard, generation),
                keys::state_prefix(shard, generation + 1),
            );
            batch.delete_range(Column::State(table), from, to);
        }
        batch
    }
}

impl Drop for SnapshotImport {
    fn drop(&mut self) {
        if !self.finished
            && let Ok(engine) = self.inner.engine()
        {
            // Best effort: the next import or the next open removes the rows too.
            let _ = engine
                .write(self.sweep(self.generation))
                .map_err(|error| self.inner.health.fail(error));
        }
        // Released last: the removal above must not delete rows that the next import writes.
        self.shard.importing.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for SnapshotImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("shard", &self.shard.id)
            .field("chunks", &self.number)
            .finish_non_exhaustive()
    }
}
