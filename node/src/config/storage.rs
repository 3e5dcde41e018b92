//! `[storage]`: the data directory.

use super::load::Problems;
use super::section::section;
use super::units::Millis;

section! {
    /// The data directory. One node, one directory; a second process is refused.
    pub struct Storage {
        /// Where everything is kept.
        dir: String = "./rookery-data".to_owned(),
        /// Acknowledge only what is on the disk. Off, a power cut can lose acknowledged messages on this node; it is
        /// shown in /v1/cluster and in the metrics.
        fsync: bool = true,
        /// Free space below which new messages are refused. Must hold what is compacted meanwhile.
        reserve_bytes: u64 = 256 << 20,
        /// Memory for blocks of the tables.
        cache_bytes: usize = 128 << 20,
        /// Memory for the log's unwritten part.
        log_buffer_bytes: usize = 16 << 20,
        /// Memory for each table's unwritten part.
        state_buffer_bytes: usize = 32 << 20,
        /// Size of the write-ahead log above which tables are written out; bounds the time of a restart.
        wal_bytes: usize = 128 << 20,
        /// How often what was deleted is taken out of the files: the log of each shard is trimmed, and tables and
        /// write-ahead logs are rewritten where they hold more than the newest. Deleted words are gone from this node's
        /// disk after at most three times this. 0: only when there is enough of it to be worth while.
        compact_ms: Millis = Millis(86_400_000),
    }
}

// === impl Storage ===

impl Storage {
    /// Reports every value that cannot work.
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

    /// What the storage crate is given.
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
