//! One atomic batch of state writes that sees its own writes.

use std::ops::Range;

use bytes::Bytes;

use crate::{Error, Order, Table};

/// A batch of changes to one shard's state.
#[derive(Debug)]
pub struct Transaction {}

// === impl Transaction ===

impl Transaction {
    /// Returns a row, own writes included.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let _ = (table, key);
        Err(Error::Closed)
    }

    /// Returns up to `limit` rows of `range`, own writes included.
    pub fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let _ = (table, range, order, limit);
        Err(Error::Closed)
    }

    /// Writes a row.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let _ = (table, key, value);
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        let _ = (table, key);
    }

    /// Writes everything and the applied position at once. Not synced: the log can replay it.
    pub fn commit(self, applied: Bytes) -> Result<(), Error> {
        let _ = applied;
        Err(Error::Closed)
    }
}
