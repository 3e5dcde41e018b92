//! The door to the disk: what the rest of the crate asks of a key-value engine.
//!
//! Two engines: [`rocks`] for production, [`memory`] for simulation. Everything above this trait is the same
//! code for both, so a simulated crash tries the code that runs in production.
//!
//! The contract that everything above relies on: writes are atomic and totally ordered; a crash keeps a prefix
//! of them; `sync` puts every write that returned before it into that prefix.

pub(crate) mod memory;
pub(crate) mod rocks;

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::columns::Column;
use crate::record;
use crate::{Error, Order};

/// What a scan calls for each row: the key, and the sealed value or its payload.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>;

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Writes a sealed value.
    Put {
        column: Column,
        key: Vec<u8>,
        value: Bytes,
    },
    /// Removes a row.
    Delete { column: Column, key: Vec<u8> },
    /// Removes the rows in `from..to`.
    DeleteRange {
        column: Column,
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

/// Changes that are written together or not at all, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) ops: Vec<Op>,
    /// Bytes of keys and values, for bounds and metrics.
    pub(crate) bytes: usize,
}

/// Reads rows: from the newest state, or from a snapshot.
pub(crate) trait Read: Send + Sync {
    /// Returns a sealed value.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Visits the rows in `from..to` until the visitor breaks.
    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error>;

    /// Returns the payload of a row.
    fn payload(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.get(column, key)?
            .map(|value| record::open(column, key, value))
            .transpose()
    }

    /// Returns the key of the row that a scan would visit first.
    fn first_key(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.scan(column, from, to, order, &mut |key, _| {
            found = Some(key.to_vec());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

/// A key-value engine.
pub(crate) trait Engine: Read {
    /// Returns a reader of this moment.
    fn snapshot(&self) -> Result<Box<dyn Read>, Error>;

    /// Writes a batch. Not durable before a `sync`.
    fn write(&self, batch: Batch) -> Result<(), Error>;

    /// Hands every write so far to the operating system: a killed process keeps them, a power cut may not.
    fn flush(&self) -> Result<(), Error>;

    /// Makes every write so far durable.
    fn sync(&self) -> Result<(), Error>;

    /// Returns the free bytes of the file system.
    fn free_bytes(&self) -> Result<u64, Error>;

    /// Rewrites what holds more than the newest value of each row, so that what was overwritten or removed before the
    /// call is in no file any more. Blocks, perhaps for long; others go on meanwhile.
    fn compact(&self) -> Result<(), Error>;
}

// === impl Batch ===

impl Batch {
    /// Seals and puts a value.
    pub(crate) fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, payload: &[u8]) {
        let key = key.into();
        let value = Bytes::from(record::seal(column, &key, payload));
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put { column, key, value });
    }

    /// Removes a row.
    pub(crate) fn delete(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(Op::Delete { column, key });
    }

    /// Removes the rows in `from..to`; nothing when that is empty, which RocksDB would call an error.
    pub(crate) fn delete_range(&mut self, column: Column, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        let (from, to) = (from.into(), to.into());
        if from >= to {
            return;
        }
        self.bytes += from.len() + to.len();
        self.ops.push(Op::DeleteRange { column, from, to });
    }

    /// Adds the changes of another batch after its own.
    pub(crate) fn append(&mut self, mut other: Batch) {
        self.bytes += other.bytes;
        if self.ops.is_empty() {
            self.ops = other.ops;
        } else {
            self.ops.append(&mut other.ops);
        }
    }

    /// Returns whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
