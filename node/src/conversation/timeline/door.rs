//! The door to storage: the few operations that the rules need, so that tests can hand in a map.

use std::ops::Range;

use bytes::Bytes;
use storage::{Error, Order, State, Table, Transaction, View};

/// Rows to be read.
pub trait Rows {
    /// Returns a row.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Returns up to `limit` rows of `range`.
    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;
}

/// Rows to be changed, all or none.
pub(super) trait RowsMut: Rows {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]);
    fn delete(&mut self, table: Table, key: &[u8]);
}

macro_rules! rows {
    ($($source:ty),*) => {$(
        impl Rows for $source {
            fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
                <$source>::get(self, table, key)
            }

            fn scan(
                &self,
                table: Table,
                range: Range<&[u8]>,
                order: Order,
                limit: usize,
            ) -> Result<Vec<(Bytes, Bytes)>, Error> {
                <$source>::scan(self, table, range, order, limit)
            }
        }
    )*};
}

rows!(State, View, Transaction);

impl RowsMut for Transaction {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        Transaction::put(self, table, key, value);
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        Transaction::delete(self, table, key);
    }
}
