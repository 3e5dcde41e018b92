//! A consistent look at one shard's state.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::Read;
use crate::inner::Inner;
use crate::{Error, Order, ShardId, Table, keys, recovery, tables};

/// A point-in-time view. Holds back the engine's garbage collection: keep it short.
pub struct View {
    inner: Arc<Inner>,
    shard: ShardId,
    /// The rows and the generation to read; or why there are none, told by each call.
    moment: Result<(Box<dyn Read>, u32), Error>,
}

// === impl View ===

impl View {
    pub(crate) fn new(inner: Arc<Inner>, shard: ShardId) -> View {
        let moment = View::moment(&inner, shard);
        View { inner, shard, moment }
    }

    /// Returns a row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let (rows, generation) = self.rows()?;
        rows.payload(Column::State(table), &keys::state(self.shard, generation, key))
    }

    /// Returns up to `limit` rows of `range`; an empty `range.end` means the end of the table.
    pub fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let (rows, generation) = self.rows()?;
        tables::scan(rows, self.shard, generation, table, range, order, limit)
    }

    /// Returns the applied position of this moment.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        let (rows, generation) = self.rows()?;
        rows.payload(Column::Hard, &keys::applied(self.shard, generation))
    }

    /// The generation is read inside the snapshot, so an import's swap is wholly before it or wholly after.
    fn moment(inner: &Inner, shard: ShardId) -> Result<(Box<dyn Read>, u32), Error> {
        let rows = inner.engine()?.snapshot()?;
        let generation = recovery::generation(&*rows, shard)?;
        Ok((rows, generation))
    }

    fn rows(&self) -> Result<(&dyn Read, u32), Error> {
        self.inner.health.check()?;
        let (rows, generation) = self.moment.as_ref().map_err(Clone::clone)?;
        Ok((&**rows, *generation))
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
