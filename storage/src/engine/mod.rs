//! Interface to the disk: the key-value engine that the rest of the crate uses.
//!
//! Two engines implement it: [`rocks`] for production and [`memory`] for simulation. All code above this trait is the
//! same for both, so a simulated crash tests the code that runs in production.
//!
//! Contract: writes are atomic and totally ordered; a crash keeps a prefix of them; `sync` puts every write that
//! returned before it into that prefix.

pub(crate) mod memory;
pub(crate) mod rocks;

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::columns::Column;
use crate::{Error, record};

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    /// Scans from the smallest key upwards.
    Ascending,
    /// Scans from the largest key downwards.
    Descending,
}

/// Callback that a scan calls for each row, with the key and the sealed value or its payload.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>;

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) enum BatchOp {
    /// Writes a sealed value.
    Put {
        column: Column,
        key: Vec<u8>,
        value: Bytes,
    },
    /// Removes a row, if it exists.
    Delete { column: Column, key: Vec<u8> },
    /// Removes the rows in `from..to`.
    DeleteRange {
        column: Column,
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

/// Ordered changes that are written atomically.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteBatch {
    pub(crate) ops: Vec<BatchOp>,
    /// Bytes of keys and values, for bounds and metrics.
    pub(crate) bytes: usize,
}

/// Reads rows from the newest state or from a snapshot.
pub(crate) trait EngineRead: Send + Sync {
    /// Returns the sealed value of a row; `None` if there is none.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Visits the rows in `from..to` until the visitor breaks.
    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: Visit<'_>,
    ) -> Result<(), Error>;

    /// Returns the checked payload of a row; `None` if there is none.
    fn payload(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.get(column, key)?
            .map(|value| record::open(column, key, value))
            .transpose()
    }

    /// Returns the key of the row that a scan would visit first; `None` if the range is empty.
    fn first_key(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.scan(column, from, to, order, &mut |key, _| {
            found = Some(key.to_vec());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

/// A key-value engine with atomic, ordered writes.
pub(crate) trait Engine: EngineRead {
    /// Returns a consistent reader of the current state.
    fn snapshot(&self) -> Result<Box<dyn EngineRead>, Error>;

    /// Writes a batch. Not durable before a `sync`.
    fn write(&self, batch: WriteBatch) -> Result<(), Error>;

    /// Hands every earlier write to the operating system: it survives a killed process, but maybe not a power cut.
    fn flush(&self) -> Result<(), Error>;

    /// Makes every earlier write durable.
    fn sync(&self) -> Result<(), Error>;

    /// Returns the free bytes of the file system.
    fn free_bytes(&self) -> Result<u64, Error>;

    /// Rewrites every file that holds more than the newest value of each row, so that no file keeps bytes overwritten
    /// or removed before the call. Blocks, possibly for minutes; other calls proceed meanwhile.
    fn compact(&self) -> Result<(), Error>;
}

// === impl WriteBatch ===

impl WriteBatch {
    /// Seals a value and adds its put.
    pub(crate) fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, payload: &[u8]) {
        let key = key.into();
        // Sealed here, on the caller's thread: the single writer of the node only concatenates.
        let value = Bytes::from(record::seal(column, &key, payload));
        self.bytes += key.len() + value.len();
        self.ops.push(BatchOp::Put { column, key, value });
    }

    /// Adds the removal of a row.
    pub(crate) fn delete(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(BatchOp::Delete { column, key });
    }

    /// Adds the removal of the rows in `from..to`. An empty range adds nothing, since RocksDB rejects one.
    pub(crate) fn delete_range(&mut self, column: Column, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        let (from, to) = (from.into(), to.into());
        if from >= to {
            return;
        }
        self.bytes += from.len() + to.len();
        self.ops.push(BatchOp::DeleteRange { column, from, to });
    }

    /// Appends the changes of another batch.
    pub(crate) fn append(&mut self, mut other: WriteBatch) {
        self.bytes += other.bytes;
        // The usual group holds one large append: taking its vector over avoids a copy on the writer thread.
        if self.ops.is_empty() {
            self.ops = other.ops;
        } else {
            self.ops.append(&mut other.ops);
        }
    }

    /// Returns whether the batch holds no change.
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
