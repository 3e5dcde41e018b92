//! A copy of a shard's state on its way in, under the next generation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use fail::fail_point;

use super::chunk::Chunk;
use crate::columns::Column;
use crate::engine::Batch;
use crate::inner::{Inner, Shard};
use crate::queue::Kind;
use crate::{Error, Table, keys};

/// A copy on its way in. Dropped unfinished, it leaves the current state as it was.
pub struct Import {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
    /// The generation that is being written.
    generation: u32,
    stream: Option<u32>,
    number: u32,
    complete: bool,
    finished: bool,
}

// === impl Import ===

impl Import {
    pub(crate) fn new(inner: Arc<Inner>, shard: Arc<Shard>) -> Result<Import, Error> {
        let engine = inner.engine()?;
        if shard.importing.swap(true, Ordering::AcqRel) {
            return Err(Error::Misuse("an import of this shard is already running"));
        }
        let generation = shard.generation() + 1;
        let import = Import {
            inner,
            shard,
            generation,
            stream: None,
            number: 0,
            complete: false,
            finished: false,
        };
        engine
            .write(import.sweep(generation))
            .map_err(|error| import.inner.health.fail(error))?;
        Ok(import)
    }

    /// Adds a chunk of an export, in order. Blocks for a write, not for an fsync.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the chunk was damaged on its way; drop the import and start again. [`Error::Misuse`]: the
    /// chunk is not the next one of this copy. [`Error::Full`]: drop the import and start again when there is room.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let engine = self.inner.engine()?;
        let mut parsed = Chunk::parse(chunk)?;
        if self.complete
            || parsed.number != self.number
            || *self.stream.get_or_insert(parsed.stream) != parsed.stream
        {
            return Err(Error::Misuse("chunk is not the next one of this copy"));
        }
        self.inner.space.allow(&*engine, chunk.len())?;
        let mut batch = Batch::default();
        while let Some((table, key, value)) = parsed.next_row()? {
            batch.put(
                Column::State(table),
                keys::state(self.shard.id, self.generation, key),
                value,
            );
        }
        fail_point!("storage::import_chunk");
        if !batch.is_empty() {
            engine
                .write(batch)
                .map_err(|error| self.inner.health.fail(error))?;
        }
        self.number += 1;
        self.complete = parsed.last;
        Ok(())
    }

    /// Replaces the shard's state by what was added, at once and synced, then drops the old one.
    ///
    /// # Errors
    /// [`Error::Misuse`]: the last chunk was not added. After any error the old state is still there, unless the
    /// store is poisoned: then the next open finds the old one or the new one.
    pub fn finish(mut self, applied: Bytes) -> Result<(), Error> {
        if !self.complete {
            return Err(Error::Misuse("the copy is not complete"));
        }
        let (shard, old) = (self.shard.id, self.generation - 1);
        let mut flip = Batch::default();
        flip.put(
            Column::Hard,
            keys::generation(shard),
            &self.generation.to_be_bytes(),
        );
        flip.put(Column::Hard, keys::applied(shard, self.generation), &applied);
        flip.delete(Column::Hard, keys::applied(shard, old));
        fail_point!("storage::import_before_flip");
        self.inner.synced(flip, Kind::Other)?;
        fail_point!("storage::import_after_flip");
        self.shard.generation.store(self.generation, Ordering::Release);
        self.finished = true;
        let engine = self.inner.engine()?;
        engine
            .write(self.sweep(old))
            .map_err(|error| self.inner.health.fail(error))
    }

    /// Returns the removal of all rows of a generation.
    fn sweep(&self, generation: u32) -> Batch {
        let shard = self.shard.id;
        let mut batch = Batch::default();
        for table in Table::ALL {
            let (from, to) = (
                keys::state_prefix(shard, generation),
                keys::state_prefix(shard, generation + 1),
            );
            batch.delete_range(Column::State(table), from, to);
        }
        batch
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        if !self.finished
            && let Ok(engine) = self.inner.engine()
        {
            // Only tidies; the next import or the next open would do it too.
            let _ = engine
                .write(self.sweep(self.generation))
                .map_err(|error| self.inner.health.fail(error));
        }
        self.shard.importing.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("shard", &self.shard.id)
            .field("chunks", &self.number)
            .finish_non_exhaustive()
    }
}
