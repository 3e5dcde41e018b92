//! The applied state of one shard.

use std::ops::Range;

use bytes::Bytes;

use crate::{Error, Export, Import, ShardId, Table, Transaction, View};

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The applied state of one shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) shard: ShardId,
}

// === impl State ===

impl State {
    /// Returns the shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

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

    /// Returns a view of this moment.
    pub fn view(&self) -> View {
        View {}
    }

    /// Starts a transaction. One at a time per shard: the caller applies in log order.
    pub fn transaction(&self) -> Transaction {
        Transaction {}
    }

    /// Returns the applied position, as given to the last commit or import.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        Err(Error::Closed)
    }

    /// Makes every state write so far durable. Blocks for an fsync.
    pub fn sync(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// Starts a consistent export of this moment.
    pub fn export(&self) -> Result<Export, Error> {
        Err(Error::Closed)
    }

    /// Starts an import beside the current state.
    pub fn import(&self) -> Result<Import, Error> {
        Err(Error::Closed)
    }

    /// Removes log, hard state and applied state of the shard, synced.
    pub fn destroy(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }
}
