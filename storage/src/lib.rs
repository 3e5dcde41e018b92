//! Durable storage of a node: the Raft logs, hard state and applied state of all its shards, in one RocksDB.
//!
//! This crate handles bytes, shards and tables. It contains no Raft types and no chat types.
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
//!                                        one write-ahead log: a synced group makes every earlier write durable
//! ```
//!
//! # Layout
//!
//! The modules in the order of that path:
//! * [`Config`] and [`Error`]; [`TableCatalog`], in which the caller lists its tables.
//! * `columns`, `keys` and `record` define the bytes of a row on disk.
//! * `data_dir`, `recovery` and `sync_marker` check the data directory at open.
//! * `engine` is the interface to RocksDB and to the simulated disk.
//! * `write_queue` and `writer` implement group commit of each `write_op`; `store_health` and `disk_space` refuse writes after a failure or on a full
//!   disk.
//! * `raft_log`, `hard_state`, `shard_state`, `transaction` and `read_view` are the handles of one shard.
//! * `snapshot` copies the applied state of a shard between nodes.
//! * [`inspect`] reads a data directory without opening it as a store.
//!
//! # Guarantees
//!
//! * A [`Completion`] that ran with `Ok` after a synced operation: the bytes are on disk (with [`Config::fsync`]).
//! * After a crash the disk holds a prefix of the writes, and every synced write is in that prefix.
//! * A read returns the record as it was written, or [`Error::Corrupt`]; never other bytes.
//! * A failed write or fsync poisons the store: nothing is acknowledged afterwards.

#![warn(missing_docs)]

// Leaf first: a module imports only from those above it (scripts/check-layers.sh). The blank lines keep rustfmt from
// sorting them.
mod ids;

mod error;

mod config;

mod latency_buckets;

mod metrics;

mod columns;

mod hard_state;

mod digest;

mod record;

mod keys;

mod data_dir;

mod sync_marker;

mod engine;

mod row_scan;

mod recovery;

mod memory_disk;

mod store_health;

mod disk_space;

mod write_op;

mod writer;

mod write_queue;

mod store_core;

mod raft_log;

mod read_view;

mod snapshot;

mod transaction;

mod shard_state;

mod store;

pub mod inspect;

pub use config::Config;
pub use engine::ScanOrder;
pub use error::Error;
pub use hard_state::{Durability, HardKey};
pub use ids::{ShardId, TableCatalog, TableId};
pub use latency_buckets::{LatencyBuckets, LatencyCounts};
pub use memory_disk::{MemoryDisk, MemoryOptions};
pub use metrics::Metrics;
pub use raft_log::RaftLog;
pub use read_view::ReadView;
pub use shard_state::ShardState;
pub use snapshot::{ARCHIVE_CHUNK_BYTES, ArchiveChunk, RowSummary, SnapshotExport, SnapshotImport};
pub use store::Store;
pub use transaction::Transaction;
pub use write_op::Completion;
