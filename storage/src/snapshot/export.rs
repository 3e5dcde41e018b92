//! Export of a consistent copy of a shard's state.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{Builder, HEADER, ROW};
use crate::columns::Column;
use crate::engine::EngineRead;
use crate::store_core::StoreCore;
use crate::{Error, ScanOrder, ShardId, TableId, keys, recovery, row_scan};

/// A consistent copy, read chunk by chunk. It keeps old row versions from compaction until it is dropped.
pub struct SnapshotExport {
    pub(super) inner: Arc<StoreCore>,
    pub(super) shard: ShardId,
    pub(super) rows: Box<dyn EngineRead>,
    pub(super) generation: u32,
    applied: Option<Bytes>,
    stream: u32,
    pub(super) number: u32,
    /// Table slot and key at which the next chunk starts; `None` after the last chunk.
    pub(super) next: Option<(usize, Vec<u8>)>,
}

// === impl SnapshotExport ===

impl SnapshotExport {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: ShardId) -> Result<SnapshotExport, Error> {
        let rows = inner.engine()?.snapshot()?;
        // Read inside the snapshot: an import that finishes meanwhile must not mix its generation with the old rows.
        let generation = recovery::generation(&*rows, shard)?;
        let applied = rows.payload(Column::Hard, &keys::applied(shard, generation))?;
        // Two exports of one applied position get the same number: their rows are equal, so their chunks may mix.
        let stream = crc32c::crc32c(applied.as_deref().unwrap_or_default());
        Ok(SnapshotExport {
            inner,
            shard,
            rows,
            generation,
            applied,
            stream,
            number: 0,
            next: Some((0, Vec::new())),
        })
    }

    /// Returns the applied position of the copy; `None` if nothing was applied.
    pub fn applied(&self) -> Option<Bytes> {
        self.applied.clone()
    }

    /// Returns the next self-describing chunk; `None` after the last. A chunk has about `max_bytes`, or more if a
    /// single row is larger. There is at least one chunk.
    pub fn next_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        self.inner.health.check()?;
        let Some((mut slot, mut from)) = self.next.take() else {
            return Ok(None);
        };
        // `max_bytes` is only a limit: a small shard must not allocate all of it.
        let mut builder = Builder::new(max_bytes.min(1 << 20));
        while let Some(table) = self.inner.tables.tables().get(slot) {
            if let Some(rest) = self.fill(&mut builder, *table, &from, max_bytes)? {
                self.next = Some((slot, rest));
                break;
            }
            slot += 1;
            from.clear();
        }
        let chunk = builder.finish(self.stream, self.number, self.next.is_none());
        self.number += 1;
        Ok(Some(chunk.into()))
    }

    /// Adds rows of a table until the chunk is full; returns the key of the first row that did not fit.
    fn fill(
        &self,
        builder: &mut Builder,
        table: TableId,
        from: &[u8],
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut rest = None;
        let mut some = builder.len() > HEADER;
        row_scan::visit(
            &*self.rows,
            self.shard,
            self.generation,
            table,
            from..&[],
            ScanOrder::Ascending,
            &mut |key, value| {
                // A chunk holds at least one row: a row above `max_bytes` would otherwise never be exported.
                if some && builder.len() + ROW + key.len() + value.len() > max_bytes {
                    rest = Some(key.to_vec());
                    return Ok(ControlFlow::Break(()));
                }
                builder.push(table, key, value);
                some = true;
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(rest)
    }
}

impl std::fmt::Debug for SnapshotExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("shard", &self.shard)
            .field("chunks", &self.number)
            .finish_non_exhaustive()
    }
}
