//! `[storage]`: the data directory.

use super::load::Problems;
use super::section::section;
use super::units::Millis;

section! {
    /// Data directory. Only one process may use it; a second one is refused.
    pub struct StorageConfig {
        /// Path of the data directory.
        dir: String = "./rookery-data".to_owned(),
        /// Acknowledge messages only after they are synced to the disk. If off, a power failure can lose acknowledged
        /// messages on this node. The setting is shown in /v1/cluster and in the metrics.
        fsync: bool = true,
        /// Free space below which new messages are refused. Compaction needs room within it.
        reserve_bytes: u64 = 256 << 20,
        /// Memory for cached blocks of the tables.
        cache_bytes: usize = 128 << 20,
        /// Memory for the unwritten part of the log.
        log_buffer_bytes: usize = 16 << 20,
        /// Memory for the unwritten part of each table.
        state_buffer_bytes: usize = 32 << 20,
        /// Size of the write-ahead log above which tables are flushed. It bounds the time of a restart.
        wal_bytes: usize = 128 << 20,
        /// Interval at which deleted data is removed from the files. The log of each shard is trimmed, and tables and
        /// write-ahead logs with deleted data are rewritten. Deleted messages are gone from this node's disk after at
        /// most three intervals. 0: data is removed only when enough of it makes a rewrite worthwhile.
        compact_ms: Millis = Millis(86_400_000),
    }
}

// === impl StorageConfig ===

impl StorageConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.dir.is_empty() {
            problems.add("storage.dir", "must not be empty");
        }
        problems.at_least("storage.cache_bytes", self.cache_bytes as u64, 1 << 20);
        problems.at_least("storage.log_buffer_bytes", self.log_buffer_bytes as u64, 1 << 16);
        problems.at_least(
            "storage.state_buffer_bytes",
            self.state_buffer_bytes as u64,
            1 << 16,
        );
        problems.at_least("storage.wal_bytes", self.wal_bytes as u64, 1 << 20);
    }

    /// Returns the configuration of the store.
    #[must_use]
    pub fn store(&self) -> storage::Config {
        storage::Config {
            fsync: self.fsync,
            reserve_bytes: self.reserve_bytes,
            block_cache: self.cache_bytes,
            log_write_buffer: self.log_buffer_bytes,
            state_write_buffer: self.state_buffer_bytes,
            wal_bytes: self.wal_bytes,
            ..storage::Config::new(&self.dir)
        }
    }
}
