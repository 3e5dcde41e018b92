//! Shards: their placement in the cluster map, their proposal queue and their consistent reads.

pub mod batch_codec;
pub mod cluster_map;
pub(crate) mod fresh_reads;
pub mod proposer;
pub(crate) mod routing_table;

use storage::ShardId;

/// Id of the meta group, an ordinary Raft group whose state is the [cluster map](cluster_map).
pub const META: ShardId = ShardId(u16::MAX);

/// Returns the shard of a key (a conversation's or a user's id): the top bits of its xxh3 hash, scaled to `count`.
/// `count` is fixed when a cluster is bootstrapped, so a key never changes its shard.
#[must_use]
pub fn shard_of(key: &[u8], count: u16) -> ShardId {
    let hash = u128::from(xxhash_rust::xxh3::xxh3_64(key));
    // The product's high half is below `count`, so the conversion cannot fail.
    ShardId(u16::try_from((hash * u128::from(count)) >> 64).unwrap_or(0))
}
