//! Consistent read view of one shard's applied state.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::EngineRead;
use crate::store_core::StoreCore;
use crate::{Error, ScanOrder, ShardId, TableId, keys, recovery, row_scan};

/// A point-in-time view. It keeps old row versions from compaction, so drop it soon.
pub struct ReadView {
    inner: Arc<StoreCore>,
    shard: ShardId,
    /// The snapshot and its generation, or the error that each call returns because there is none.
    moment: Result<(Box<dyn EngineRead>, u32), Error>,
}

// === impl ReadView ===

impl ReadView {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: ShardId) -> ReadView {
        let moment = ReadView::moment(&inner, shard);
        ReadView { inner, shard, moment }
    }

    /// Returns a row; `None` if there is none.
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let (rows, generation) = self.rows()?;
        rows.payload(Column::State(table), &keys::state(self.shard, generation, key))
    }

    /// Returns up to `limit` rows of `range`; an empty `range.end` means the end of the table.
    pub fn scan(
        &self,
        table: TableId,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let (rows, generation) = self.rows()?;
        row_scan::scan(rows, self.shard, generation, table, range, order, limit)
    }

    /// Returns the applied position of the view; `None` before the first commit.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        let (rows, generation) = self.rows()?;
        rows.payload(Column::Hard, &keys::applied(self.shard, generation))
    }

    /// Takes the snapshot. The generation is read inside it, so an import's switch is either wholly visible or not at
    /// all.
    fn moment(inner: &StoreCore, shard: ShardId) -> Result<(Box<dyn EngineRead>, u32), Error> {
        let rows = inner.engine()?.snapshot()?;
        let generation = recovery::generation(&*rows, shard)?;
        Ok((rows, generation))
    }

    fn rows(&self) -> Result<(&dyn EngineRead, u32), Error> {
        // A snapshot outlives a failure of the store, but a poisoned replica must not serve reads any more.
        self.inner.health.check()?;
        let (rows, generation) = self.moment.as_ref().map_err(Clone::clone)?;
        Ok((&**rows, *generation))
    }
}

impl std::fmt::Debug for ReadView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
