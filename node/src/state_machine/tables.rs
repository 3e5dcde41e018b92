//! Tables of the shards' rows, and the catalogue with which a node opens its store.
//!
//! | table       | rows                                       | pattern                              |
//! |-------------|--------------------------------------------|--------------------------------------|
//! | `sys`       | the shard's own values; none in this build | a few rows a shard                   |
//! | `conv`      | one row a conversation                     | overwritten by every message         |
//! | `msg`       | one row a message                          | append, read by range; the large one |
//! | `member`    | one row a member of a conversation         | point reads, scans of a conversation |
//! | `dedup`     | client ids of recent messages              | point reads that mostly miss: Bloom  |
//! | `uidx`      | conversations of a user                    | scans of a user                      |
//! | `outbox`    | effects another shard has not acknowledged | short-lived                          |
//! | `login`     | attempt counters, codes, token families, device tokens, keyring | point reads, expire |
//! | `webhook`   | queued webhook messages and their policy   | short-lived                          |

use storage::TableCatalog;

/// Declares the tables, one a line: number, and name of the column family. Both are persisted.
macro_rules! tables {
    ($($table:ident = $number:literal $name:literal,)*) => {
        /// A table of a shard's rows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ChatTable {
            $($table,)*
        }

        /// Every table of a node's store: those of the chat and that of the cluster.
        pub const TABLES: TableCatalog = TableCatalog::new(&[
            $(ChatTable::$table.of_store(),)*
            cluster::META_TABLE,
        ]);

        impl ChatTable {
            /// Returns the table as the store identifies it.
            pub const fn of_store(self) -> storage::TableId {
                match self {
                    $(ChatTable::$table => storage::TableId::new($number, $name),)*
                }
            }
        }
    };
}

tables! {
    Sys = 1 "sys",
    Conversation = 2 "conv",
    Message = 3 "msg",
    Member = 4 "member",
    Dedup = 5 "dedup",
    UserIndex = 6 "uidx",
    Outbox = 7 "outbox",
    Login = 9 "login",
    Webhook = 10 "webhook",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_of_the_tables_are_frozen() {
        let expected = [
            (1, "sys"),
            (2, "conv"),
            (3, "msg"),
            (4, "member"),
            (5, "dedup"),
            (6, "uidx"),
            (7, "outbox"),
            (9, "login"),
            (10, "webhook"),
            (31, "meta"),
        ];
        assert_eq!(
            TABLES.tables(),
            expected.map(|(number, name)| storage::TableId::new(number, name))
        );
    }
}
