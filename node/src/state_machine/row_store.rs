//! Row access for the state machine: the few storage operations that it needs, so that tests can supply a map.

use std::ops::Range;

use bytes::Bytes;
use storage::{Error, ReadView, ScanOrder, ShardState, Transaction};

use super::ChatTable;

/// Read access to rows.
pub trait RowReader {
    /// Returns the value of a row; `None` if it does not exist.
    fn get(&self, table: ChatTable, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Returns up to `limit` rows of `range` in the given order.
    fn scan(
        &self,
        table: ChatTable,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;
}

/// Write access to rows. Changes become visible to later reads at once, and durable all or none.
pub(super) trait RowWriter: RowReader {
    fn put(&mut self, table: ChatTable, key: &[u8], value: &[u8]);
    fn delete(&mut self, table: ChatTable, key: &[u8]);
}

macro_rules! rows {
    ($($source:ty),*) => {$(
        impl RowReader for $source {
            fn get(&self, table: ChatTable, key: &[u8]) -> Result<Option<Bytes>, Error> {
                <$source>::get(self, table.of_store(), key)
            }

            fn scan(
                &self,
                table: ChatTable,
                range: Range<&[u8]>,
                order: ScanOrder,
                limit: usize,
            ) -> Result<Vec<(Bytes, Bytes)>, Error> {
                <$source>::scan(self, table.of_store(), range, order, limit)
            }
        }
    )*};
}

rows!(ShardState, ReadView, Transaction);

impl RowWriter for Transaction {
    fn put(&mut self, table: ChatTable, key: &[u8], value: &[u8]) {
        Transaction::put(self, table.of_store(), key, value);
    }

    fn delete(&mut self, table: ChatTable, key: &[u8]) {
        Transaction::delete(self, table.of_store(), key);
    }
}
