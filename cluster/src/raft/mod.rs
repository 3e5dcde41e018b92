//! The Raft groups: everything that names openraft, and nothing else does.
//!
//! One group is a `log_store` and a `state_machine` over the node's one disk, a `network` over the node's one
//! transport, and a handle with methods in this crate's words (`group`). Received requests come in by `serve`.
//!
//! openraft is an alpha, pinned exactly, and its records are stored and sent in the form that its own serde
//! derivations give: `codec` freezes that form with golden bytes, so that an upgrade that changes it fails a test.

pub(crate) mod codec;
pub(crate) mod digest;
pub(crate) mod group;
pub(crate) mod log_store;
pub(crate) mod network;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
#[cfg(test)]
mod suite_test;
mod tail;
pub(crate) mod tally;

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use crate::types::NodeId;

openraft::declare_raft_types!(
    /// The types that openraft is given.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = openraft::EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, state_machine::StateMachine>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, snapshot::SnapshotData>;

/// What goes into the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proposal {
    /// The leader makes itself the owner; the entry's index is the epoch.
    Takeover { node: NodeId, incarnation: u64 },
    /// Commands of the owner, [packed](crate::shard::batch).
    Batch {
        epoch: u64,
        now_ms: u64,
        /// The evidence for `now_ms`: what the clocks of a majority had reached.
        reached_ms: u64,
        commands: Bytes,
    },
}

/// What the proposer gets back. Never stored; openraft asks that it could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The entry carried no commands.
    Nothing,
    /// One outcome per command.
    Outcomes(Vec<Bytes>),
    /// The batch was of another epoch than the owner's, and changed nothing.
    StaleEpoch,
    /// The batch was of a time that is too far ahead. It changed nothing, and its epoch is over.
    Untimely,
}

// === impl Proposal ===

impl Proposal {
    /// Bytes in memory, roughly; for bounds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Proposal::Takeover { .. } => 64,
            Proposal::Batch { commands, .. } => 64 + commands.len(),
        }
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proposal::Takeover { node, incarnation } => write!(f, "takeover by {node} ({incarnation:x})"),
            Proposal::Batch { epoch, commands, .. } => {
                write!(f, "batch of epoch {epoch}, {} bytes", commands.len())
            }
        }
    }
}
