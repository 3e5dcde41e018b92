//! Column families: their rows, writers and access patterns.
//!
//! | family        | rows                                         | written by  | pattern                              |
//! |---------------|----------------------------------------------|-------------|--------------------------------------|
//! | `default`     | node-wide values, number of commit groups    | writer      | one tiny row a group, overwritten    |
//! | `log`         | Raft entries of all shards                   | writer      | append, range-deleted soon after     |
//! | `hard`        | vote, committed, purged, applied, generation | both        | a few tiny rows a shard, overwritten |
//! | one per table | the caller's rows                            | transaction | the caller's                         |
//!
//! All families share one write-ahead log, so a write is atomic across them and one fsync covers them all. The numbers
//! are part of checksums and exported chunks: never reuse one.

use crate::{TableCatalog, TableId};

/// A column family of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    /// Node-wide rows that belong to no shard.
    Node,
    /// Raft entries of all shards.
    Log,
    /// Hard state and the positions of the applied state.
    Hard,
    /// A table of the applied state.
    State(TableId),
}

// === impl Column ===

impl Column {
    /// Returns all families of a store, in the order in which they are created.
    pub(crate) fn all(tables: TableCatalog) -> impl Iterator<Item = Column> {
        [Column::Node, Column::Log, Column::Hard]
            .into_iter()
            .chain(tables.tables().iter().copied().map(Column::State))
    }

    /// Returns the number that goes into the checksum of each record of this family.
    pub(crate) fn number(self) -> u8 {
        // From 32 on: the numbers below are for tables.
        match self {
            Column::State(table) => table.number(),
            Column::Node => 32,
            Column::Log => 33,
            Column::Hard => 34,
        }
    }

    /// Returns RocksDB's name of the family.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Node => "default",
            Column::Log => "log",
            Column::Hard => "hard",
            Column::State(table) => table.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_frozen() {
        let tables = TableCatalog::new(const { &[TableId::new(1, "first"), TableId::new(31, "last")] });
        let all: Vec<_> = Column::all(tables)
            .map(|column| (column.number(), column.name()))
            .collect();
        assert_eq!(
            all,
            [
                (32, "default"),
                (33, "log"),
                (34, "hard"),
                (1, "first"),
                (31, "last")
            ]
        );
    }
}
