//! Ownership of shards: which node may propose to a shard, and under which epoch.
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

pub(crate) mod announcement;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// Owner of a shard after an untimely batch deposed the last one: see [`crate::raft::state_machine`].
pub(crate) const UNOWNED: NodeId = NodeId(0);

/// Replicated record of a shard's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardOwner {
    pub node: NodeId,
    /// Incarnation of the owning process, different at each start.
    pub incarnation: u64,
    /// Log index of the takeover. Zero: the shard never had an owner.
    pub epoch: u64,
    /// Raft term of the takeover. The ownership ends with the leadership in that term.
    pub term: u64,
}
