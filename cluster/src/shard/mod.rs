//! The shards: the map that places them, the queue that feeds them.

pub mod batch;
pub mod map;
pub mod propose;
pub(crate) mod read;

use storage::ShardId;

/// The meta group: an ordinary Raft group whose state is the [map].
pub const META: ShardId = ShardId(u16::MAX);

/// The shard of a key (a conversation's or a user's id): the top bits of its xxh3 hash, scaled to `count`.
/// `count` is fixed when a cluster is bootstrapped, so a key never moves.
#[must_use]
pub fn shard_of(key: &[u8], count: u16) -> ShardId {
    let hash = u128::from(xxhash_rust::xxh3::xxh3_64(key));
    ShardId(u16::try_from((hash * u128::from(count)) >> 64).unwrap_or(0))
}
