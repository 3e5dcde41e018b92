//! In-memory engine for simulation: a crash discards every unsynced write.
//!
//! The disk holds two copies of the tables: the state that a process reads, and the state that a power cut leaves. A
//! write changes the first and is queued; a sync applies the queued writes to the second. An incarnation number fences
//! the stores of a crashed process: they can neither read nor write the state of their successor.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{BatchOp, Engine, EngineRead, ScanOrder, Visit, WriteBatch};
use crate::Error;
use crate::columns::Column;

/// State of a disk, shared by all engines opened on it.
#[derive(Debug, Default)]
pub(crate) struct SimDisk {
    content: Mutex<Content>,
}

/// Engine of one incarnation of a disk.
pub(crate) struct MemoryEngine {
    disk: Arc<SimDisk>,
    incarnation: u64,
}

#[derive(Debug, Default)]
struct Content {
    current: MemoryTables,
    durable: MemoryTables,
    pending: VecDeque<WriteBatch>,
    incarnation: u64,
    full: bool,
    failing: bool,
}

type MemoryRows = BTreeMap<Vec<u8>, Bytes>;

/// One map per column family, shared with snapshots and copied on the first write after one.
#[derive(Debug, Clone, Default)]
struct MemoryTables(BTreeMap<Column, Arc<MemoryRows>>);

// === impl SimDisk ===

impl SimDisk {
    /// Keeps the first `keep` unsynced writes, discards the rest, and fences all engines.
    pub(crate) fn crash(&self, keep: usize) {
        let mut content = self.content.lock();
        let keep = keep.min(content.pending.len());
        content.persist(keep);
        content.pending.clear();
        content.current = content.durable.clone();
        // Fences stores of the crashed process whose tasks still run in the simulation.
        content.incarnation += 1;
    }

    /// Replaces the content by the durable content of another disk, and fences all engines.
    pub(crate) fn put_back(&self, older: &SimDisk) {
        // Copied before the own lock is taken: holding both could deadlock, and always would if the disks were the
        // same.
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

    /// Changes stored bytes without the store's knowledge; returns whether the row existed.
    pub(crate) fn damage(&self, column: Column, key: &[u8], change: impl Fn(&mut [u8])) -> bool {
        let mut content = self.content.lock();
        let Content { current, durable, .. } = &mut *content;
        let mut found = false;
        // Both copies: a later sync or crash must not bring the intact value back.
        for tables in [current, durable] {
            if let Some(value) = tables.rows(column).get_mut(key) {
                let mut bytes = value.to_vec();
                change(&mut bytes);
                *value = bytes.into();
                found = true;
            }
        }
        found
    }
}

// === impl MemoryEngine ===

impl MemoryEngine {
    /// Opens a disk. Engines opened before stay usable until a crash; the caller must ensure one store at a time.
    pub(crate) fn open(disk: Arc<SimDisk>) -> MemoryEngine {
        let incarnation = disk.content.lock().incarnation;
        MemoryEngine { disk, incarnation }
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

impl EngineRead for MemoryEngine {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.content()?.current.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        // A cheap copy of the maps: the visitor runs without the lock and may read or write the disk itself.
        let tables = self.content()?.current.clone();
        tables.scan(column, from, to, order, visit)
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineRead>, Error> {
        Ok(Box::new(self.content()?.current.clone()))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), Error> {
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
        // Unsynced state writes become durable as well: on a real disk one write-ahead log holds them all.
        let all = content.pending.len();
        content.persist(all);
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        Ok(if self.content()?.full { 0 } else { u64::MAX })
    }

    fn compact(&self) -> Result<(), Error> {
        // The maps hold only the newest value of each row, so there is nothing to remove.
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

// === impl MemoryTables ===

impl MemoryTables {
    fn apply(&mut self, batch: &WriteBatch) {
        for op in &batch.ops {
            match op {
                BatchOp::Put { column, key, value } => {
                    self.rows(*column).insert(key.clone(), value.clone());
                }
                BatchOp::Delete { column, key } => {
                    self.rows(*column).remove(key);
                }
                BatchOp::DeleteRange { column, from, to } => {
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

    fn rows(&mut self, column: Column) -> &mut MemoryRows {
        Arc::make_mut(self.0.entry(column).or_default())
    }
}

impl EngineRead for MemoryTables {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(&column).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        // `BTreeMap::range` panics on a reversed range.
        if from >= to {
            return Ok(());
        }
        let Some(rows) = self.0.get(&column) else {
            return Ok(());
        };
        let mut rows = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((key, value)) = match order {
            ScanOrder::Ascending => rows.next(),
            ScanOrder::Descending => rows.next_back(),
        } {
            if let ControlFlow::Break(()) = visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}
