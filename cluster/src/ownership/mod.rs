//! Who may decide for a shard, and until when.
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
//! term, but a new process proposes a new takeover. From that follows the *reject-suffix property*: after one rejection
//! under an epoch nothing is accepted under it any more, so a sender may send its whole unanswered window again, in
//! order, to the next owner. It also makes a takeover a barrier: when it is applied, so is all that was committed
//! before, and the owner's caches start from the truth.
//!
//! The idea is that of a fencing token checked by the storage itself (Kleppmann, "How to do distributed locking").

pub(crate) mod announce;
pub(crate) mod supervise;
pub(crate) mod table;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// The owner of a shard whose last one was found out: see [`crate::raft::state_machine`].
pub(crate) const UNOWNED: NodeId = NodeId(0);

/// The replicated record of who owns a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// The process on that node: a random number drawn at its start.
    pub incarnation: u64,
    /// Log index of the takeover. Zero: nobody ever owned the shard.
    pub epoch: u64,
    /// Raft term in which it led then. It owns the shard for no longer than it leads in that very term.
    pub term: u64,
}
