//! A consistent look at one shard's state.

use std::ops::Range;

use bytes::Bytes;

use crate::{Error, Order, Table};

/// A point-in-time view. Holds back the engine's garbage collection: keep it short.
#[derive(Debug)]
pub struct View {}

// === impl View ===

impl View {
    /// Returns a row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let _ = (table, key);
        Err(Error::Closed)
    }

    /// Returns up to `limit` rows of `range`.
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

    /// Returns the applied position of this moment.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        Err(Error::Closed)
    }
}
