//! How it lasts: everything a node keeps on disk, in one RocksDB.
//!
//! This crate knows bytes, shards and tables. It does not know what a Raft entry or a chat message is.
//!
//! # The path of a write
//!
//! ```text
//!  cluster: append, vote, truncate, purge of all shards            cluster: apply of one batch
//!        |                                                               |
//!        v                                                               v
//!  raft_log, hard_state --> queue --> writer (one thread a node)    transaction (overlay, then one batch)
//!                                        |  one write, one fsync         |  one write, no fsync
//!                                        v                               v
//!                                      engine: RocksDB, or memory in simulation
//!                                        one write-ahead log: a synced round makes every earlier write durable
//! ```
//!
//! # Layout
//!
//! Modules in the order of that path: [`Config`] and [`Error`]; `columns`, `keys` and `record` say how a row
//! looks on disk; `format`, `recovery` and `witness` guard the directory; `engine` is the door to the disk;
//! `queue` and `writer` commit in groups, while `health` and `space` say whether they may; `raft_log`,
//! `hard_state`, `tables`, `transaction` and `view` are what a shard uses; `snapshot` moves a shard's state
//! between nodes; [`inspect`] looks at a directory from outside.
//!
//! # Promises
//!
//! * A `Done` that ran with `Ok` after a synced operation: the bytes are on disk (with [`Config::fsync`]).
//! * After a crash the disk holds a prefix of what was written, and every synced write is in that prefix.
//! * A record is returned as it was written, or [`Error::Corrupt`] is; never something else.
//! * A failed write or fsync poisons the store: nothing is acknowledged afterwards.

mod config;
mod error;

mod columns;
mod digest;
mod keys;
mod record;

mod format;
mod recovery;
mod witness;

mod engine;
mod health;
mod memory;
mod metrics;
mod queue;
mod space;
mod writer;

mod inner;
mod store;

mod hard_state;
mod raft_log;
mod snapshot;
mod tables;
mod transaction;
mod view;

pub mod inspect;

pub use columns::Table;
pub use config::Config;
pub use error::Error;
pub use hard_state::{Durability, HardKey};
pub use memory::{MemoryDisk, MemoryOptions};
pub use metrics::Metrics;
pub use raft_log::{Done, Log};
pub use snapshot::{Export, Import};
pub use store::{ShardId, Store};
pub use tables::{Order, State};
pub use transaction::Transaction;
pub use view::View;
