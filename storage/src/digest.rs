//! What a transaction wrote, as a number: replicas that applied the same thing have the same one.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::Table;

/// Returns the digest of one row; `None`: of its removal. Frozen: replicas of different builds compare theirs.
///
/// The digest of several rows is the sum of theirs, so that it says nothing about the order in which they were written:
/// a machine may go through a hash map.
pub(crate) fn row(table: Table, key: &[u8], value: Option<&[u8]>) -> u128 {
    let place = u64::from(table.number()) << 1 | u64::from(value.is_some());
    xxh3_128_with_seed(value.unwrap_or_default(), xxh3_64_with_seed(key, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_key_value_and_removal_each_count() {
        let rows = [
            row(Table::Member, b"k", Some(b"v")),
            row(Table::Message, b"k", Some(b"v")),
            row(Table::Member, b"kv", Some(b"")),
            row(Table::Member, b"k", Some(b"")),
            row(Table::Member, b"k", None),
        ];
        for (i, one) in rows.iter().enumerate() {
            assert!(rows[i + 1..].iter().all(|other| one != other), "{i}");
        }
    }

    #[test]
    fn golden_digest_of_a_row() {
        let digest = row(Table::Member, b"key", Some(b"value"));
        assert_eq!(format!("{digest:032x}"), "32d1268d236110f20a6d963aa528e770");
    }
}
