//! Raft groups over openraft. Only this module names openraft.
//!
//! One group is a `log_store` and a `state_machine` over the node's disk, a `network` over its transport, and a handle
//! with this crate's types (`group`). `serve` handles requests of other replicas.
//!
//! openraft is an alpha, pinned exactly, and its records are stored and sent in the encoding of its own serde
//! derivations. `codec` freezes that encoding with golden bytes, so that an upgrade which changes it fails a test. See
//! `docs/decisions/0001-openraft-alpha.md`.

mod archived;
mod codec;
mod digest;
mod group;
mod log_store;
mod network;
mod row_copy;
mod rpc_server;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite_test;
mod tally;
mod unflushed_log;

pub(crate) use archived::{read_position, single_member_position, write_log};
pub(crate) use group::{Group, GroupDeps};
pub(crate) use log_store::LogStore;
pub(crate) use rpc_server::RpcServer;
pub(crate) use snapshot::Imports;
pub(crate) use state_machine::ApplyObserver;

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use crate::ids::{FeatureLevel, NodeId};

openraft::declare_raft_types!(
    /// Type parameters of openraft.
    pub(crate) TypeConfig:
        D = Proposal,
        R = ProposalResult,
        NodeId = u64,
        Node = openraft::EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, state_machine::StateMachineStore>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, snapshot::SnapshotData>;

/// Payload of a log entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proposal {
    /// Makes the proposing leader the shard owner; the entry's index is the epoch.
    Takeover { node: NodeId, incarnation: u64 },
    /// Commands of the shard owner, [packed](crate::batch_codec).
    Batch {
        epoch: u64,
        /// Feature level under which the batch was proposed.
        level: FeatureLevel,
        now_ms: u64,
        /// Time that the clocks of a majority had reached: the evidence for `now_ms`.
        reached_ms: u64,
        commands: Bytes,
    },
}

/// Result of a proposal, returned to the proposer. Serializable only because openraft requires it; never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProposalResult {
    /// The entry carried no commands.
    Nothing,
    /// One outcome per command, in order.
    Outcomes(Vec<Bytes>),
    /// The batch had another epoch than the owner's. It changed nothing.
    StaleEpoch,
    /// The time of the batch is too far ahead. It changed nothing, and its epoch is over.
    Untimely,
}

// === impl Proposal ===

impl Proposal {
    /// Returns the approximate size in memory in bytes, for the bounds of buffers.
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
