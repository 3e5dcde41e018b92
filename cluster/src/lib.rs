//! Replicated shards over openraft: consensus, shard ownership, membership, clocks and the transport between nodes.
//!
//! A cluster is one *meta group* that holds the [cluster map](shard::cluster_map) (nodes, shards, replicas) and N *shard
//! groups*. Each is a Raft group over the same transport and the same disk. The leader of a shard group becomes the
//! *shard owner* by a replicated [takeover](ownership). Every batch of commands carries the epoch of that takeover; a
//! batch of another epoch changes nothing, on any replica.
//!
//! The content of commands is opaque to this crate: the [`StateMachine`] applies committed commands in order, inside
//! one storage transaction, and returns an outcome for each. The crate contains no chat rules, no WebSocket and no
//! RocksDB, and only [`raft`] names openraft.
//!
//! Path of a command: [`shard`] (propose) → [`raft`] → [`transport`] → [`raft`] on the followers → the state machine.
//! Beside it: [`ownership`] (shard owners and epochs), [`membership`] (members and placement) and [`clock`] (time of
//! batches).

mod blocking;
pub mod clock;
pub mod config;
pub mod error;
mod handle;
pub mod ids;
mod log_throttle;
mod member;
pub mod membership;
pub mod metrics;
pub mod ownership;
pub mod raft;
#[cfg(feature = "planted-bugs")]
pub mod seeded_bugs;
pub mod service;
pub mod shard;
pub mod state_machine;
pub mod transport;

pub use clock::ClusterClock;
pub use config::Config;
pub use error::{CallError, CastError, Error, Full, NotOwner, ProposeError};
pub use handle::Cluster;
pub use ids::{GroupStatus, NodeId, NodeInfo, NodeStatus, Route, ShardStatus, Status};
pub use log_throttle::LogThrottle;
pub use service::{BatchResult, ConnectionState, OwnedShard, Responder, Service};
pub use shard::proposer::Proposer;
pub use state_machine::{CommittedBatch, StateMachine};
pub use storage::ShardId;
