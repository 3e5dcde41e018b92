//! Replicated shards over openraft: consensus, shard ownership, membership, clocks and the transport between nodes.
//!
//! A cluster is one *meta group* that holds the [cluster map](shard::ClusterMap) (nodes, shards, replicas) and N *shard
//! groups*. Each is a Raft group over the same transport and the same disk. The leader of a shard group becomes the
//! *shard owner* by a replicated [takeover](shard). Every batch of commands carries the epoch of that takeover; a
//! batch of another epoch changes nothing, on any replica.
//!
//! The content of commands is opaque to this crate: the [`StateMachine`] applies committed commands in order, inside
//! one storage transaction, and returns an outcome for each. The crate contains no chat rules, no WebSocket and no
//! RocksDB, and only [`raft`] names openraft.
//!
//! Path of a command: [`shard`] (propose) → [`raft`] → [`transport`] → [`raft`] on the followers → the state machine.
//! Beside it: [`membership`] (members and placement), [`member`] (the loops of a running member) and [`clock`] (time of
//! batches).
//!
//! The modules below are declared in the order of their layers, leaf first: a module imports only from those above it.

#[cfg(feature = "planted-bugs")]
pub mod seeded_bugs;

mod ids;

mod error;

pub mod clock;

mod config;

mod log_throttle;

mod metrics;

mod blocking;

pub mod batch_codec;

mod state_machine;

pub mod transport;

mod raft;

mod shard;

mod service;

mod membership;

mod member;

mod handle;

pub use clock::ClusterClock;
pub use config::{ClusterTuning, Config};
pub use error::{CallError, CastError, Error, NotOwner, ProposeError};
pub use handle::Cluster;
pub use ids::{
    ComparedReplica, FeatureLevel, GroupStatus, META_TABLE, NodeDuty, NodeId, NodeInfo, NodeStatus,
    ReplicaComparison, Route, ShardPosition, ShardStatus, Status,
};
pub use log_throttle::LogThrottle;
pub use member::{PERMITTED_LAG, found_cluster, position, restore_shard, stored_cluster};
pub use service::{OwnedShard, Service};
pub use shard::{BatchResult, Failover, FailoverCause, FailoverHistory, FailoverNote, Proposer, shard_of};
pub use state_machine::{CommittedBatch, StateMachine, StateMachineError, UndecodableCommand};
pub use storage::ShardId;
pub use transport::{ConnectionState, Responder};
