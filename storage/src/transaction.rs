//! One atomic batch of state writes that sees its own writes.
//!
//! The writes wait in an overlay, one ordered map a table; a read asks the overlay first and merges it into a
//! scan. The committed state below may be read without a snapshot, since only one transaction a shard runs.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;

use crate::columns::Column;
use crate::engine::{Batch, Engine};
use crate::inner::{Inner, Shard};
use crate::{Error, Order, Table, digest, keys, tables};

/// A batch of changes to one shard's state. Dropped without a commit, it changes nothing.
pub struct Transaction {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
    generation: u32,
    /// The committed state; or why there is none, told by each call.
    base: Result<Arc<dyn Engine>, Error>,
    overlay: [Overlay; Table::ALL.len()],
    /// Counts the calls of [`Transaction::take_digest`].
    step: u32,
    /// Of the rows written in this step.
    digest: u128,
}

/// The writes of one table.
type Overlay = BTreeMap<Vec<u8>, Own>;

/// A write.
struct Own {
    /// What to put; `None` deletes.
    value: Option<Bytes>,
    /// When it was written last.
    step: u32,
}

// === impl Transaction ===

impl Transaction {
    pub(crate) fn new(inner: Arc<Inner>, shard: Arc<Shard>) -> Transaction {
        let (generation, base) = (shard.generation(), inner.engine());
        Transaction {
            inner,
            shard,
            generation,
            base,
            overlay: Default::default(),
            step: 0,
            digest: 0,
        }
    }

    /// Returns a row, own writes included.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(own) = self.overlay[table.slot()].get(key) {
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
        table: Table,
        range: Range<&[u8]>,
        order: Order,
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
        tables::visit(
            self.base()?,
            shard,
            generation,
            table,
            range,
            order,
            &mut |key, value| {
                // Own writes that come before this row, and the one that replaces it.
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
        for (key, value) in own {
            if merged.is_full() {
                break;
            }
            merged.push(key, value.value.clone());
        }
        Ok(merged.rows)
    }

    /// Writes a row.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.write(table, key, Some(value));
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.write(table, key, None);
    }

    /// Returns the digest of what was written since the last call: each row that was, as it is now. The order of writes to
    /// different rows makes no difference, nor does how many steps share a transaction.
    pub fn take_digest(&mut self) -> u128 {
        self.step += 1;
        std::mem::take(&mut self.digest)
    }

    /// Writes everything and the applied position at once. Not synced: after a crash the log replays it.
    ///
    /// # Errors
    /// After any error nothing of it was written, or the store is poisoned.
    pub fn commit(self, applied: Bytes) -> Result<(), Error> {
        let base = self.base()?;
        if self.generation != self.shard.generation() {
            return Err(Error::Misuse(
                "the state was replaced by an import during the transaction",
            ));
        }
        let batch = self.batch(&applied);
        fail_point!("storage::before_commit");
        base.write(batch).map_err(|error| self.inner.health.fail(error))?;
        fail_point!("storage::after_commit");
        self.inner.metrics.commits.inc();
        Ok(())
    }

    fn write(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        self.digest = self.digest.wrapping_add(digest::row(table, key, value));
        let own = Own {
            value: value.map(Bytes::copy_from_slice),
            step: self.step,
        };
        let before = self.overlay[table.slot()].insert(key.to_vec(), own);
        // Written twice in a step, a row counts as it is at the end.
        if let Some(before) = before.filter(|before| before.step == self.step) {
            let replaced = digest::row(table, key, before.value.as_deref());
            self.digest = self.digest.wrapping_sub(replaced);
        }
    }

    fn batch(&self, applied: &[u8]) -> Batch {
        let (shard, generation) = (self.shard.id, self.generation);
        let mut batch = Batch::default();
        for table in Table::ALL {
            for (key, own) in &self.overlay[table.slot()] {
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

    /// Returns own writes of a range, in order.
    fn own(
        &self,
        table: Table,
        range: &Range<&[u8]>,
        order: Order,
    ) -> Box<dyn Iterator<Item = (&Vec<u8>, &Own)> + '_> {
        let end = if range.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(range.end)
        };
        if !range.end.is_empty() && range.start >= range.end {
            return Box::new(std::iter::empty());
        }
        let rows = self.overlay[table.slot()].range::<[u8], _>((Bound::Included(range.start), end));
        match order {
            Order::Ascending => Box::new(rows),
            Order::Descending => Box::new(rows.rev()),
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let writes = self.overlay.iter().map(BTreeMap::len).sum::<usize>();
        f.debug_struct("Transaction")
            .field("shard", &self.shard.id)
            .field("writes", &writes)
            .finish_non_exhaustive()
    }
}

// === merging ===

/// Collects rows up to a limit.
struct Merge {
    rows: tables::Rows,
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
fn comes_after(left: &[u8], right: &[u8], order: Order) -> bool {
    match order {
        Order::Ascending => left > right,
        Order::Descending => left < right,
    }
}
