//! Key layout. Numbers are big-endian, so the order of bytes is the order of numbers.
//!
//! ```text
//!            0        2                          6              10
//!  log       | shard  | index u64 ...............................|
//!  hard      | shard  | kind u8 |                                      vote 1, committed 2, purged 3,
//!                                                                      generation 16
//!            | shard  | 17      | generation u32 ...|                  applied position of a generation
//!  state     | shard  | generation u32             | the caller's key ...
//!  default   | 0                                                       number of the last synced commit group
//!            | 1      | name ...                                       node-wide values
//! ```
//!
//! The rows of a shard in one family are one contiguous range, and so are the rows of one generation in it. An import
//! writes generation + 1 beside the current one, switches one row, and deletes the old range.

use crate::{HardKey, ShardId};

/// Exclusive upper bound of log indexes; no entry has this index.
pub(crate) const INDEX_END: u64 = u64::MAX;

/// Key of the row that holds the number of the last synced commit group.
pub(crate) const ROUND: &[u8] = &[0];

// From 16 on, apart from the numbers of `HardKey`, which occupy the same byte of the key.
const GENERATION: u8 = 16;
const APPLIED: u8 = 17;

// === the log ===

/// Returns the key of a log entry.
pub(crate) fn log(shard: ShardId, index: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&shard.0.to_be_bytes());
    key[2..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Returns the index in the key of a log entry; `None` for any other key.
pub(crate) fn log_index(key: &[u8]) -> Option<u64> {
    key.get(2..)?.try_into().ok().map(u64::from_be_bytes)
}

// === hard state ===

/// Returns the key of a hard-state value.
pub(crate) fn hard(shard: ShardId, key: HardKey) -> [u8; 3] {
    tagged(shard, key.number())
}

/// Returns the key of the row that holds the current generation.
pub(crate) fn generation(shard: ShardId) -> [u8; 3] {
    tagged(shard, GENERATION)
}

/// Returns the key of the applied position of a generation.
pub(crate) fn applied(shard: ShardId, generation: u32) -> [u8; 7] {
    let mut key = [0; 7];
    key[..3].copy_from_slice(&tagged(shard, APPLIED));
    key[3..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// Returns the bounds of all rows of a shard in the family `hard`.
pub(crate) fn hard_range(shard: ShardId) -> ([u8; 3], [u8; 3]) {
    (tagged(shard, 0), tagged(shard, u8::MAX))
}

// === applied state ===

/// Returns the key of a row of the applied state.
pub(crate) fn state(shard: ShardId, generation: u32, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(6 + key.len());
    full.extend_from_slice(&state_prefix(shard, generation));
    full.extend_from_slice(key);
    full
}

/// Returns the common prefix of the keys of a generation, which is also the exclusive end of the generation before.
pub(crate) fn state_prefix(shard: ShardId, generation: u32) -> [u8; 6] {
    let mut key = [0; 6];
    key[..2].copy_from_slice(&shard.0.to_be_bytes());
    key[2..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// Returns the caller's part of a row's key.
pub(crate) fn state_key(key: &[u8]) -> &[u8] {
    key.get(6..).unwrap_or_default()
}

// === the node ===

/// Returns the key of a node-wide value.
pub(crate) fn node(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(1);
    key.extend_from_slice(name.as_bytes());
    key
}

// === all families of shards ===

/// Returns the shard of a key; `None` if the key is too short.
pub(crate) fn shard(key: &[u8]) -> Option<ShardId> {
    key.get(..2)?
        .try_into()
        .ok()
        .map(|bytes| ShardId(u16::from_be_bytes(bytes)))
}

fn tagged(shard: ShardId, tag: u8) -> [u8; 3] {
    let [high, low] = shard.0.to_be_bytes();
    [high, low, tag]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_every_key() {
        let shard = ShardId(0x0102);
        assert_eq!(log(shard, 0x0304), [1, 2, 0, 0, 0, 0, 0, 0, 3, 4]);
        assert_eq!(hard(shard, HardKey::Vote), [1, 2, 1]);
        assert_eq!(hard(shard, HardKey::Committed), [1, 2, 2]);
        assert_eq!(hard(shard, HardKey::Purged), [1, 2, 3]);
        assert_eq!(generation(shard), [1, 2, 16]);
        assert_eq!(applied(shard, 5), [1, 2, 17, 0, 0, 0, 5]);
        assert_eq!(hard_range(shard), ([1, 2, 0], [1, 2, 255]));
        assert_eq!(state(shard, 7, b"k"), [1, 2, 0, 0, 0, 7, b'k']);
        assert_eq!(node("id"), [1, b'i', b'd']);
        assert_eq!(ROUND, [0]);
    }

    #[test]
    fn keys_are_read_back() {
        let key = log(ShardId::META, 9);
        assert_eq!((shard(&key), log_index(&key)), (Some(ShardId::META), Some(9)));
        let key = state(ShardId(3), 8, b"abc");
        assert_eq!((shard(&key), state_key(&key)), (Some(ShardId(3)), &b"abc"[..]));
        assert_eq!((log_index(b"short"), shard(b"1")), (None, None));
    }

    #[test]
    fn byte_order_is_number_order() {
        assert!(log(ShardId(1), u64::MAX) < log(ShardId(2), 0));
        assert!(log(ShardId(1), 255) < log(ShardId(1), 256));
        assert!(state(ShardId(1), 1, &[0xff; 40]).as_slice() < state_prefix(ShardId(1), 2).as_slice());
    }
}
