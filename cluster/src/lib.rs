//! How it is agreed, and who may decide: replicated shards over openraft.
//!
//! A cluster is one *meta group* that holds the [map](shard::map) (nodes, shards, replicas) and N *shard groups*, each a
//! Raft group over the same transport and the same disk. The leader of a shard group becomes its *owner* by a
//! replicated [takeover](ownership), and every batch of commands carries the epoch that the takeover gave out; a batch
//! of another epoch changes nothing, on any replica.
//!
//! What is replicated is not this crate's business: the [`Machine`] is given committed commands in order, inside one
//! storage transaction, and returns an outcome for each. The crate knows no chat rules, no WebSocket and no RocksDB,
//! and only [`raft`] names openraft.
//!
//! Modules in the order a command takes: [`shard`] (propose) → [`raft`] → [`transport`] → [`raft`] on the followers →
//! the machine. Beside it: [`ownership`] (who may propose), [`membership`] (who belongs) and [`clock`] (what time it is).

mod blocking;
pub mod clock;
pub mod config;
pub mod error;
mod handle;
pub mod machine;
pub mod membership;
pub mod metrics;
mod node;
pub mod ownership;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod raft;
mod seldom;
pub mod service;
pub mod shard;
pub mod transport;
pub mod types;

pub use clock::Clock;
pub use config::Config;
pub use error::{CallError, CastError, Error, Full, NotOwner, ProposeError};
pub use handle::Cluster;
pub use machine::{Batch, Machine};
pub use seldom::Seldom;
pub use service::{Committed, LinkState, Owned, Reply, Service};
pub use shard::propose::Proposer;
pub use storage::ShardId;
pub use types::{GroupStatus, NodeId, NodeInfo, NodeStatus, Route, ShardStatus, Status};
