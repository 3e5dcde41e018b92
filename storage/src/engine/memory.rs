//! A disk in memory, for simulation: what is not synced is gone after a crash.
//!
//! Two copies of the tables: what a process sees, and what a power cut leaves. A write changes the first and
//! is remembered; a sync replays the remembered writes into the second. Incarnations fence the stores of a
//! crashed process: they can neither read nor write what their successor sees.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{Batch, Engine, Op, Read, Visit};
use crate::columns::Column;
use crate::{Error, Order};

/// The state of a disk, shared by all engines opened on it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    content: Mutex<Content>,
}

/// An engine of one incarnation.
pub(crate) struct Memory {
    disk: Arc<Disk>,
    incarnation: u64,
}

#[derive(Debug, Default)]
struct Content {
    current: Tables,
    durable: Tables,
    pending: VecDeque<Batch>,
    incarnation: u64,
    full: bool,
    failing: bool,
}

type Rows = BTreeMap<Vec<u8>, Bytes>;

/// One map a family; shared with snapshots and copied on the first write after one.
#[derive(Debug, Clone, Default)]
struct Tables([Arc<Rows>; Column::ALL.len()]);

// === impl Disk ===

impl Disk {
    /// Keeps the first `keep` unsynced writes and forgets the rest, and fences all engines.
    pub(crate) fn crash(&self, keep: usize) {
        let mut content = self.content.lock();
        let keep = keep.min(content.pending.len());
        content.persist(keep);
        content.pending.clear();
        content.current = content.durable.clone();
        content.incarnation += 1;
    }

    /// Takes over the durable content of another disk, and fences all engines.
    pub(crate) fn put_back(&self, older: &Disk) {
        let durable = older.content.lock().durable.clone();
        let mut content = self.content.lock();
        content.pending.clear();
        content.current = durable.clone();
        content.durable = durable;
        content.incarnation += 1;
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.content.lock().pending.len()
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.content.lock().full = full;
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.content.lock().failing = failing;
    }

    /// Changes stored bytes behind the store's back; returns whether the row existed.
    pub(crate) fn damage(&self, column: Column, key: &[u8], change: impl Fn(&mut [u8])) -> bool {
        let mut content = self.content.lock();
        let Content { current, durable, .. } = &mut *content;
        let mut found = false;
        for tables in [current, durable] {
            if let Some(value) = Arc::make_mut(&mut tables.0[column.slot()]).get_mut(key) {
                let mut bytes = value.to_vec();
                change(&mut bytes);
                *value = bytes.into();
                found = true;
            }
        }
        found
    }
}

// === impl Memory ===

impl Memory {
    /// Opens a disk. Engines opened before stay usable until a crash: one store at a time is the caller's duty.
    pub(crate) fn open(disk: Arc<Disk>) -> Memory {
        let incarnation = disk.content.lock().incarnation;
        Memory { disk, incarnation }
    }

    fn content(&self) -> Result<MutexGuard<'_, Content>, Error> {
        let content = self.disk.content.lock();
        if content.incarnation == self.incarnation {
            Ok(content)
        } else {
            Err(Error::Closed)
        }
    }
}

impl Read for Memory {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.content()?.current.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let tables = self.content()?.current.clone();
        tables.scan(column, from, to, order, visit)
    }
}

impl Engine for Memory {
    fn snapshot(&self) -> Result<Box<dyn Read>, Error> {
        Ok(Box::new(self.content()?.current.clone()))
    }

    fn write(&self, batch: Batch) -> Result<(), Error> {
        let mut content = self.content()?;
        content.current.apply(&batch);
        content.pending.push_back(batch);
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.content().map(|_| ())
    }

    fn sync(&self) -> Result<(), Error> {
        let mut content = self.content()?;
        if content.failing {
            return Err(Error::Io {
                what: "fsync",
                why: "the simulated disk fails".into(),
            });
        }
        let all = content.pending.len();
        content.persist(all);
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        Ok(if self.content()?.full { 0 } else { u64::MAX })
    }

    fn compact(&self) -> Result<(), Error> {
        // There is only the newest value.
        self.content().map(|_| ())
    }
}

// === impl Content ===

impl Content {
    fn persist(&mut self, count: usize) {
        for batch in self.pending.drain(..count) {
            self.durable.apply(&batch);
        }
    }
}

// === impl Tables ===

impl Tables {
    fn apply(&mut self, batch: &Batch) {
        for op in &batch.ops {
            match op {
                Op::Put { column, key, value } => {
                    self.rows(*column).insert(key.clone(), value.clone());
                }
                Op::Delete { column, key } => {
                    self.rows(*column).remove(key);
                }
                Op::DeleteRange { column, from, to } => {
                    let rows = self.rows(*column);
                    let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
                    let gone: Vec<_> = rows.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
                    for key in gone {
                        rows.remove(&key);
                    }
                }
            }
        }
    }

    fn rows(&mut self, column: Column) -> &mut Rows {
        Arc::make_mut(&mut self.0[column.slot()])
    }
}

impl Read for Tables {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0[column.slot()].get(key).cloned())
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let mut rows = self.0[column.slot()].range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((key, value)) = match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        } {
            if let ControlFlow::Break(()) = visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}
