//! What the storage promises, one file a promise. One binary, since each one links RocksDB.
//!
//! The failpoints want the feature of that name: `cargo nextest run -p rookery-storage --all-features`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod archive;
mod common;
mod corruption;
mod crash;
mod directory;
#[cfg(feature = "failpoints")]
mod failpoints;
mod full_disk;
mod log;
mod memory_disk;
mod reopen;
mod snapshot;
mod transaction_model;
