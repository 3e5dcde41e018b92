//! Transaction: an atomic batch of state writes whose reads include its own writes.
//!
//! Path of a message: step 9 of 13.
//!
//! The writes are held in an overlay, one ordered map per table. A read checks the overlay first, and a scan merges it.
//! Reads of the committed state need no snapshot, since at most one transaction per shard runs and no import beside it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;

use crate::columns::Column;
use crate::engine::{Engine, WriteBatch};
use crate::store_core::{ShardEntry, StoreCore};
use crate::{Error, ScanOrder, TableId, digest, keys, row_scan};

/// A batch of changes to one shard's state. Dropping it without a commit discards the changes.
pub struct Transaction {
    inner: Arc<StoreCore>,
    shard: Arc<ShardEntry>,
    generation: u32,
    /// The committed state, or the error that each call returns because there is none.
    base: Result<Arc<dyn Engine>, Error>,
    overlay: BTreeMap<TableId, Overlay>,
    /// Number of calls of [`Self::take_digest`] so far.
    step: u32,
    /// Digest of the rows written in this step.
    digest: u128,
}

/// The writes of one table.
type Overlay = BTreeMap<Vec<u8>, OwnWrite>;

/// Last write of a row.
struct OwnWrite {
    /// The value to put; `None` deletes the row.
    value: Option<Bytes>,
    /// Step of the last write.
    step: u32,
}

// === impl Transaction ===

impl Transaction {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: Arc<ShardEntry>) -> Transaction {
        // The generation is fixed here: commit refuses if an import has replaced the state since.
        let (generation, base) = (shard.generation(), inner.engine());
        Transaction {
            inner,
            shard,
            generation,
            base,
            overlay: BTreeMap::new(),
            step: 0,
            digest: 0,
        }
    }

    /// Returns a row, own writes included; `None` if there is none or this transaction deleted it.
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(own) = self.overlay.get(&table).and_then(|rows| rows.get(key)) {
            return Ok(own.value.clone());
        }
        self.base()?.payload(
            Column::State(table),
            &keys::state(self.shard.id, self.generation, key),
        )
    }

    /// Returns up to `limit` rows of `range`, own writes included; an empty `range.end` means the end of the table.
    pub fn scan(
        &self,
        table: TableId,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut own = self.own(table, &range, order).peekable();
        let mut merged = Merge {
            rows: Vec::new(),
            limit,
        };
        if merged.is_full() {
            return Ok(merged.rows);
        }
        let (shard, generation) = (self.shard.id, self.generation);
        row_scan::visit(
            self.base()?,
            shard,
            generation,
            table,
            range,
            order,
            &mut |key, value| {
                // Own writes before this row come first; an own write of the same key replaces the row.
                while let Some((own_key, own_value)) =
                    own.next_if(|(own_key, _)| !comes_after(own_key, key, order))
                {
                    merged.push(own_key, own_value.value.clone());
                    if own_key.as_slice() == key || merged.is_full() {
                        return Ok(merged.flow());
                    }
                }
                merged.push(key, Some(Bytes::copy_from_slice(value)));
                Ok(merged.flow())
            },
        )?;
        // Own writes behind the last committed row.
        for (key, value) in own {
            if merged.is_full() {
                break;
            }
            merged.push(key, value.value.clone());
        }
        Ok(merged.rows)
    }

    /// Puts a row into the overlay.
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.write(table, key, Some(value));
    }

    /// Removes a row, through the overlay.
    pub fn delete(&mut self, table: TableId, key: &[u8]) {
        self.write(table, key, None);
    }

    /// Returns the digest of the rows written since the last call, each with its current value. The order of writes to
    /// different rows does not change it, and neither does the number of steps in one transaction.
    pub fn take_digest(&mut self) -> u128 {
        self.step += 1;
        std::mem::take(&mut self.digest)
    }

    /// Writes all changes and the applied position atomically. Not synced: after a crash the log replays the changes.
    ///
    /// # Errors
    /// After any error either nothing was written or the store is poisoned.
    pub fn commit(self, applied: Bytes) -> Result<(), Error> {
        let base = self.base()?;
        // Rows of the old generation would be invisible and swept, while the caller took them for committed.
        if self.generation != self.shard.generation() {
            return Err(Error::Misuse(
                "the state was replaced by an import during the transaction",
            ));
        }
        // The applied position is in the same batch: a crash must not separate it from its rows, or replay would apply
        // twice.
        let batch = self.batch(&applied);
        fail_point!("storage::before_commit");
        base.write(batch).map_err(|error| self.inner.health.fail(error))?;
        fail_point!("storage::after_commit");
        self.inner.metrics.commits.inc();
        Ok(())
    }

    fn write(&mut self, table: TableId, key: &[u8], value: Option<&[u8]>) {
        self.digest = self.digest.wrapping_add(digest::row(table, key, value));
        let own = OwnWrite {
            value: value.map(Bytes::copy_from_slice),
            step: self.step,
        };
        let before = self.overlay.entry(table).or_default().insert(key.to_vec(), own);
        // A row written twice in a step counts with its last value only.
        if let Some(before) = before.filter(|before| before.step == self.step) {
            let replaced = digest::row(table, key, before.value.as_deref());
            self.digest = self.digest.wrapping_sub(replaced);
        }
    }

    fn batch(&self, applied: &[u8]) -> WriteBatch {
        let (shard, generation) = (self.shard.id, self.generation);
        let mut batch = WriteBatch::default();
        for (&table, rows) in &self.overlay {
            for (key, own) in rows {
                let key = keys::state(shard, generation, key);
                match &own.value {
                    Some(value) => batch.put(Column::State(table), key, value),
                    None => batch.delete(Column::State(table), key),
                }
            }
        }
        batch.put(Column::Hard, keys::applied(shard, generation), applied);
        batch
    }

    fn base(&self) -> Result<&dyn Engine, Error> {
        self.inner.health.check()?;
        self.base.as_deref().map_err(Clone::clone)
    }

    /// Returns the own writes of a range, in the order of the scan.
    fn own(
        &self,
        table: TableId,
        range: &Range<&[u8]>,
        order: ScanOrder,
    ) -> Box<dyn Iterator<Item = (&Vec<u8>, &OwnWrite)> + '_> {
        let end = if range.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(range.end)
        };
        // `BTreeMap::range` panics if the start is behind the end.
        if !range.end.is_empty() && range.start >= range.end {
            return Box::new(std::iter::empty());
        }
        let Some(rows) = self.overlay.get(&table) else {
            return Box::new(std::iter::empty());
        };
        let rows = rows.range::<[u8], _>((Bound::Included(range.start), end));
        match order {
            ScanOrder::Ascending => Box::new(rows),
            ScanOrder::Descending => Box::new(rows.rev()),
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let writes = self.overlay.values().map(BTreeMap::len).sum::<usize>();
        f.debug_struct("Transaction")
            .field("shard", &self.shard.id)
            .field("writes", &writes)
            .finish_non_exhaustive()
    }
}

// === merging ===

/// Result rows of a scan, up to a limit.
struct Merge {
    rows: row_scan::RowIter,
    limit: usize,
}

impl Merge {
    fn push(&mut self, key: &[u8], value: Option<Bytes>) {
        if let Some(value) = value {
            self.rows.push((Bytes::copy_from_slice(key), value));
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.limit
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.is_full() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Returns whether `left` comes after `right` in the order of the scan.
fn comes_after(left: &[u8], right: &[u8], order: ScanOrder) -> bool {
    match order {
        ScanOrder::Ascending => left > right,
        ScanOrder::Descending => left < right,
    }
}
