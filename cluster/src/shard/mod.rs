//! Shards: their placement in the cluster map, their owners and epochs, their proposals and their consistent reads.
//!
//! The *shard owner* is the node that may propose to a shard, under one epoch:
//!
//! ```text
//!   election                 the new leader                 every replica, in apply
//!   ─────────► leader of s ─ proposes Takeover{node,      ► owner(s) := {node, incarnation, epoch = index of
//!                            incarnation}                                this entry}
//!                                                             │
//!     node and incarnation are this process's own ◄───────────┘
//!     → the shard is Active(epoch) here: commands are admitted, each batch carries the epoch
//!
//!   a batch whose epoch isn't owner(s).epoch changes nothing, on any replica
//! ```
//!
//! The epoch is the log index of the takeover, not the term: a leader that restarts quickly may resume in the same
//! term, but a new process proposes a new takeover. This implies the *reject-suffix property*: after one rejection
//! under an epoch, nothing is accepted under it any more. A sender may therefore resend all its unanswered commands, in
//! order, to the next owner. A takeover is also a barrier: when it is applied, so is everything committed before, and
//! the owner's caches start from complete rows.
//!
//! The epoch is a fencing token checked by the storage itself (Kleppmann, "How to do distributed locking"). See
//! `docs/decisions/0004-takeover-epoch.md`.

mod announcement;
mod cluster_map;
mod duties;
mod failover;
mod fresh_reads;
mod map_change;
mod map_state_machine;
mod proposer;
mod routing_table;

pub(crate) use announcement::{MemberAnnouncement, MemberMethod};
pub(crate) use cluster_map::{ClusterMap, Placement};
pub use failover::{Failover, FailoverCause, FailoverHistory, FailoverNote};
pub(crate) use failover::{decode_notes, encode_notes, read_failovers};
pub(crate) use fresh_reads::FreshReads;
pub(crate) use map_change::{MapChange, MapChangeResult};
pub(crate) use map_state_machine::MapStateMachine;
pub(crate) use proposer::LevelCell;
pub use proposer::{BatchResult, Proposer};
pub(crate) use routing_table::RoutingTable;

use storage::ShardId;

/// Returns the shard of a key (a conversation's or a user's id): the top bits of its xxh3 hash, scaled to `count`.
/// `count` is fixed when a cluster is bootstrapped, so a key never changes its shard.
#[must_use]
pub fn shard_of(key: &[u8], count: u16) -> ShardId {
    let hash = u128::from(xxhash_rust::xxh3::xxh3_64(key));
    // The product's high half is below `count`, so the conversion cannot fail.
    ShardId(u16::try_from((hash * u128::from(count)) >> 64).unwrap_or(0))
}
