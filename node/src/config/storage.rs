//! `[storage]`: the data directory.

use super::load::Problems;
use super::section::section;

section! {
    /// The data directory. One node, one directory; a second process is refused.
    pub struct Storage {
        /// Where everything is kept.
        dir: String = "./rookery-data".to_owned(),
        /// Acknowledge only what is on the disk. Off, a power cut can lose acknowledged messages on this node; it is
        /// shown in /v1/cluster and in the metrics.
        fsync: bool = true,
        /// Free space below which writes are refused, so that the node never stops half way through one.
        reserve_bytes: u64 = 64 << 20,
    }
}

// === impl Storage ===

impl Storage {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.dir.is_empty() {
            problems.add("storage.dir", "must not be empty");
        }
    }
}
