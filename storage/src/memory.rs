//! The simulated disk.

use std::time::Duration;

/// A disk in memory that outlives the stores opened on it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {}

/// How a simulated disk behaves.
#[derive(Debug, Clone, Default)]
pub struct MemoryOptions {
    /// Simulated time of one fsync.
    pub sync_delay: Duration,
    /// Acknowledges before the sync: a known bug, kept so that the simulation can prove that it catches it.
    pub ack_before_sync: bool,
}

// === impl MemoryDisk ===

impl MemoryDisk {
    /// Returns an empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk {}
    }

    /// Power cut: drops everything not synced. Stores opened before answer `Error::Closed` from now.
    pub fn crash(&self) {}

    /// Power cut that keeps the first `keep` of the unsynced writes (all of them when there are fewer).
    pub fn crash_keeping(&self, keep: usize) {
        let _ = keep;
    }

    /// Returns the number of writes that no sync covers yet.
    pub fn unsynced(&self) -> usize {
        0
    }
}
