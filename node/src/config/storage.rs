//! `[storage]`: the data directory.

use super::load::Problems;
use super::section::section;
use super::units::{HumanDuration, HumanSize};

section! {
    /// Data directory. Only one process may use it; a second one is refused.
    pub struct StorageConfig {
        /// Path of the data directory.
        dir: String = "./rookery-data".to_owned(),
        /// Acknowledge messages only after they are synced to the disk. If off, a power failure can lose acknowledged
        /// messages on this node. The setting is shown in /v1/cluster and in the metrics.
        fsync: bool = true,
        /// Free space below which new messages are refused. Compaction needs room within it.
        free_space_reserve: HumanSize = HumanSize::mib(256),
        /// Memory for cached blocks of the tables. A node with a smaller cache than the default also has smaller write
        /// buffers and write-ahead logs, in proportion.
        cache_size: HumanSize = HumanSize::mib(128),
        /// Interval at which deleted data is removed from the files. The log of each shard is trimmed, and tables and
        /// write-ahead logs with deleted data are rewritten. Deleted messages are gone from this node's disk after at
        /// most three intervals. "0s": data is removed only when enough of it makes a rewrite worthwhile.
        compaction_interval: HumanDuration = HumanDuration::secs(86_400),
    }
}

// === impl StorageConfig ===

impl StorageConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.dir.is_empty() {
            problems.add("storage.dir", "must not be empty");
        }
        problems.at_least("storage.cache_size", self.cache_size, HumanSize::mib(1));
    }
}
