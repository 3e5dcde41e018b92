//! Digest of the rows that a transaction wrote: replicas that applied the same batch have the same digest.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::TableId;

/// Returns the digest of one row, or of its removal if `value` is `None`. Frozen: replicas of different builds compare
/// digests.
///
/// The digest of several rows is the sum of their digests, so it is independent of the order of the writes. A state
/// machine may therefore iterate over a hash map.
pub(crate) fn row(table: TableId, key: &[u8], value: Option<&[u8]>) -> u128 {
    // The lowest bit separates an empty value from a removal; both would hash the same bytes otherwise.
    let seed = u64::from(table.number()) << 1 | u64::from(value.is_some());
    xxh3_128_with_seed(value.unwrap_or_default(), xxh3_64_with_seed(key, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: TableId = TableId::new(3, "msg");
    const MEMBER: TableId = TableId::new(4, "member");

    #[test]
    fn table_key_value_and_removal_each_count() {
        let rows = [
            row(MEMBER, b"k", Some(b"v")),
            row(MESSAGE, b"k", Some(b"v")),
            row(MEMBER, b"kv", Some(b"")),
            row(MEMBER, b"k", Some(b"")),
            row(MEMBER, b"k", None),
        ];
        for (i, one) in rows.iter().enumerate() {
            assert!(rows[i + 1..].iter().all(|other| one != other), "{i}");
        }
    }

    #[test]
    fn golden_digest_of_a_row() {
        let digest = row(MEMBER, b"key", Some(b"value"));
        assert_eq!(format!("{digest:032x}"), "32d1268d236110f20a6d963aa528e770");
    }
}
