//! Column families: their rows, writers and access patterns.
//!
//! | family   | rows                                     | written by  | pattern                               |
//! |----------|------------------------------------------|-------------|---------------------------------------|
//! | `default`| node-wide values, number of commit groups | writer     | one tiny row a group, overwritten     |
//! | `log`    | Raft entries of all shards               | writer      | append, range-deleted soon after      |
//! | `hard`   | vote, committed, purged, applied, generation | both    | a few tiny rows a shard, overwritten  |
//! | `sys`    | owner and epoch of a shard               | transaction | a few rows a shard, overwritten       |
//! | `conv`   | one row a conversation                   | transaction | overwritten by every message          |
//! | `msg`    | one row a message                        | transaction | append, read by range; the large one  |
//! | `member` | one row a member of a conversation       | transaction | point reads, scans of a conversation  |
//! | `dedup`  | client ids of recent messages            | transaction | point reads that mostly miss: Bloom   |
//! | `uidx`   | conversations of a user                  | transaction | scans of a user                       |
//! | `outbox` | effects another shard has not acknowledged | transaction | short-lived                         |
//! | `meta`   | all state of the meta group              | transaction | small                                 |
//!
//! All families share one write-ahead log, so a write is atomic across them and one fsync covers them all. The numbers
//! are part of checksums and exported chunks: never reuse one.

/// A table of the applied state. Each table is one column family, and the caller chooses the keys within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TableId {
    /// Values of the shard itself: owner, epoch, membership. Family `sys`.
    Sys = 1,
    /// One row per conversation. Family `conv`.
    Conversation = 2,
    /// One row per message. Family `msg`.
    Message = 3,
    /// One row per member of a conversation. Family `member`.
    Member = 4,
    /// Client ids of recent messages. Family `dedup`.
    Dedup = 5,
    /// The conversations of a user. Family `uidx`.
    UserIndex = 6,
    /// Effects on other shards that are not yet acknowledged there. Family `outbox`.
    Outbox = 7,
    /// All state of the meta group: nodes, cluster map, cluster id. Family `meta`.
    Meta = 8,
}

/// A column family of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

// === impl TableId ===

impl TableId {
    /// All tables, in the order in which they are exported.
    pub const ALL: [TableId; 8] = [
        TableId::Sys,
        TableId::Conversation,
        TableId::Message,
        TableId::Member,
        TableId::Dedup,
        TableId::UserIndex,
        TableId::Outbox,
        TableId::Meta,
    ];

    /// Returns the column family's name.
    pub fn name(self) -> &'static str {
        Column::State(self).name()
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<TableId> {
        TableId::ALL.into_iter().find(|table| table.number() == number)
    }

    /// Returns the position in [`TableId::ALL`].
    pub(crate) fn slot(self) -> usize {
        usize::from(self.number()) - 1
    }
}

// === impl Column ===

impl Column {
    /// All families, in the order in which they are created.
    pub(crate) const ALL: [Column; 11] = [
        Column::Node,
        Column::Log,
        Column::Hard,
        Column::State(TableId::Sys),
        Column::State(TableId::Conversation),
        Column::State(TableId::Message),
        Column::State(TableId::Member),
        Column::State(TableId::Dedup),
        Column::State(TableId::UserIndex),
        Column::State(TableId::Outbox),
        Column::State(TableId::Meta),
    ];

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
            Column::State(TableId::Sys) => "sys",
            Column::State(TableId::Conversation) => "conv",
            Column::State(TableId::Message) => "msg",
            Column::State(TableId::Member) => "member",
            Column::State(TableId::Dedup) => "dedup",
            Column::State(TableId::UserIndex) => "uidx",
            Column::State(TableId::Outbox) => "outbox",
            Column::State(TableId::Meta) => "meta",
        }
    }

    /// Returns the position in [`Column::ALL`].
    pub(crate) fn slot(self) -> usize {
        match self {
            Column::Node => 0,
            Column::Log => 1,
            Column::Hard => 2,
            Column::State(table) => 3 + table.slot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_frozen() {
        let all: Vec<_> = Column::ALL
            .iter()
            .map(|column| (column.number(), column.name()))
            .collect();
        assert_eq!(
            all,
            [
                (32, "default"),
                (33, "log"),
                (34, "hard"),
                (1, "sys"),
                (2, "conv"),
                (3, "msg"),
                (4, "member"),
                (5, "dedup"),
                (6, "uidx"),
                (7, "outbox"),
                (8, "meta")
            ]
        );
        for (slot, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column.slot(), slot);
        }
    }
}
