//! Ids of shards and tables, and the catalogue of tables, which the caller supplies.

use std::fmt;

/// Number of a shard of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A table of the applied state. Each table is one column family, and the caller chooses the keys within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    number: u8,
    name: &'static str,
}

/// Tables of a store, in the order in which they are exported. A directory is always opened with every table that was
/// ever created in it.
#[derive(Debug, Clone, Copy)]
pub struct TableCatalog(&'static [TableId]);

// === impl ShardId ===

impl ShardId {
    /// The id of the meta group.
    pub const META: ShardId = ShardId(u16::MAX);
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == ShardId::META {
            f.write_str("meta")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

// === impl TableId ===

impl TableId {
    /// Returns the table with a number from 1 to 31 and the name of its column family. The number is part of checksums,
    /// digests and exported chunks: never reuse one.
    ///
    /// # Panics
    /// On any other number. Tables are constants, so the compiler reports it.
    pub const fn new(number: u8, name: &'static str) -> TableId {
        // From 32 on the numbers belong to the families of this crate.
        assert!(number >= 1 && number < 32, "a table number is between 1 and 31");
        TableId { number, name }
    }

    /// Returns the name of the table's column family.
    pub const fn name(self) -> &'static str {
        self.name
    }

    pub(crate) const fn number(self) -> u8 {
        self.number
    }
}

// === impl TableCatalog ===

impl TableCatalog {
    /// Returns the catalogue of these tables.
    ///
    /// # Panics
    /// If the numbers do not ascend. Catalogues are constants, so the compiler reports it.
    pub const fn new(tables: &'static [TableId]) -> TableCatalog {
        let mut next = 1;
        while next < tables.len() {
            let ascends = tables[next - 1].number < tables[next].number;
            assert!(ascends, "the table numbers of a catalogue ascend");
            next += 1;
        }
        TableCatalog(tables)
    }

    /// Returns the tables, in ascending order of their numbers.
    pub fn tables(self) -> &'static [TableId] {
        self.0
    }

    /// Returns the table with this number; `None` if the catalogue has none.
    pub(crate) fn find(self, number: u8) -> Option<TableId> {
        self.0.iter().copied().find(|table| table.number == number)
    }
}
