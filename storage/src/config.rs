//! Settings of a store: data directory, buffer sizes and bounds.

use std::path::PathBuf;

/// Settings of a store. [`Config::new`] returns the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory, created if it does not exist.
    pub path: PathBuf,
    /// Sync before acknowledging. `false` leaves durability to the operating system; the gauge `fsync_enabled` then
    /// reads 0. Default: true.
    pub fsync: bool,
    /// Write buffer of the log, bytes. Default: 16 MiB.
    pub log_write_buffer: usize,
    /// Write buffer of each state table, bytes. Default: 32 MiB.
    pub state_write_buffer: usize,
    /// Block cache shared by all tables, bytes. Default: 128 MiB.
    pub block_cache: usize,
    /// Maximum number of table files kept open. Default: 512.
    pub open_files: u32,
    /// Size of the write-ahead log, in bytes, above which tables are flushed. Bounds the replay time of a restart.
    /// Default: 128 MiB.
    pub wal_bytes: usize,
    /// Bound of the write queue, in bytes. A caller above it blocks. Default: 64 MiB.
    pub queue_bytes: usize,
    /// Bound of one commit group, in bytes. Default: 4 MiB.
    pub round_bytes: usize,
    /// Free space, in bytes, below which [`crate::Store::room`] refuses new work. Below half of it log entries are
    /// refused with [`Error::Full`](crate::Error::Full). The reserve must hold the flushes and compactions that RocksDB
    /// runs meanwhile. Default: 256 MiB.
    pub reserve_bytes: u64,
}

// === impl Config ===

impl Config {
    /// Returns the defaults for a data directory.
    pub fn new(path: impl Into<PathBuf>) -> Config {
        Config {
            path: path.into(),
            fsync: true,
            log_write_buffer: 16 << 20,
            state_write_buffer: 32 << 20,
            block_cache: 128 << 20,
            open_files: 512,
            wal_bytes: 128 << 20,
            queue_bytes: 64 << 20,
            round_bytes: 4 << 20,
            reserve_bytes: 256 << 20,
        }
    }

    /// Returns settings with small buffers, for tests and for many stores on one machine.
    pub fn small(path: impl Into<PathBuf>) -> Config {
        Config {
            log_write_buffer: 1 << 20,
            state_write_buffer: 1 << 20,
            block_cache: 4 << 20,
            wal_bytes: 8 << 20,
            queue_bytes: 16 << 20,
            reserve_bytes: 16 << 20,
            ..Config::new(path)
        }
    }
}
