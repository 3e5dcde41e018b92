//! Settings of a store: data directory, buffer sizes and bounds.

use std::path::PathBuf;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory, created if it does not exist.
    pub path: PathBuf,
    /// Sync before acknowledging. `false` leaves durability to the operating system; the gauge `fsync_enabled` then
    /// reads 0.
    pub fsync: bool,
    /// Write buffer of the log, bytes.
    pub log_write_buffer: usize,
    /// Write buffer of each state table, bytes.
    pub state_write_buffer: usize,
    /// Block cache shared by all tables, bytes.
    pub block_cache: usize,
    /// Maximum number of table files kept open.
    pub open_files: u32,
    /// Size of the write-ahead log, in bytes, above which tables are flushed. Bounds the replay time of a restart.
    pub wal_bytes: usize,
    /// Bound of the write queue, in bytes. A caller above it blocks.
    pub queue_bytes: usize,
    /// Bound of one commit group, in bytes.
    pub round_bytes: usize,
    /// Free space, in bytes, below which [`crate::Store::room`] refuses new work. Below half of it log entries are
    /// refused with [`Error::Full`](crate::Error::Full). The reserve must hold the flushes and compactions that RocksDB
    /// runs meanwhile.
    pub reserve_bytes: u64,
}

// === impl Config ===

impl Config {
    /// Returns settings with a block cache and a reserve of these sizes.
    ///
    /// A cache of 128 MiB or more has write buffers of the full size. A smaller one has smaller buffers in proportion,
    /// because it is chosen where memory or disk is scarce.
    pub fn new(path: impl Into<PathBuf>, block_cache: usize, reserve_bytes: u64) -> Config {
        Config {
            path: path.into(),
            fsync: true,
            log_write_buffer: (block_cache / 8).clamp(1 << 20, 16 << 20),
            state_write_buffer: (block_cache / 4).clamp(1 << 20, 32 << 20),
            block_cache,
            open_files: 512,
            wal_bytes: block_cache.clamp(8 << 20, 128 << 20),
            queue_bytes: 64 << 20,
            round_bytes: 4 << 20,
            reserve_bytes,
        }
    }

    /// Returns settings with small buffers, for tests and for many stores on one machine.
    pub fn small(path: impl Into<PathBuf>) -> Config {
        Config {
            queue_bytes: 16 << 20,
            ..Config::new(path, 4 << 20, 16 << 20)
        }
    }
}
