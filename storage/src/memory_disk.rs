//! Simulated disk, with crash, damage and failure injection for simulations.

use std::sync::Arc;
use std::time::Duration;

use crate::columns::Column;
use crate::engine::memory::SimDisk;
use crate::{ShardId, TableId, keys};

/// A disk in memory that outlives the stores opened on it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<SimDisk>,
}

/// Behavior of a simulated disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryOptions {
    /// Simulated time of one fsync.
    pub sync_delay: Duration,
    /// Acknowledges before the sync: a seeded bug, by which a simulation proves that it detects the loss.
    pub ack_before_sync: bool,
}

// === impl MemoryDisk ===

impl MemoryDisk {
    /// Returns an empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Simulates a power cut: drops every unsynced write. Stores opened before return [`Error::Closed`](crate::Error)
    /// from now on, for queued operations too.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Simulates a power cut of a disk that had already written back the first `keep` unsynced writes, or all of them
    /// if there are fewer. Every value is a possible crash.
    pub fn crash_keeping(&self, keep: usize) {
        self.shared.crash(keep);
    }

    /// Returns another disk with the content that a power cut now would leave on this one.
    pub fn copy(&self) -> MemoryDisk {
        let copy = MemoryDisk::new();
        copy.put_back(self);
        copy
    }

    /// Replaces the content of this disk, as after a crash, by the content that a power cut would leave on `older`.
    pub fn put_back(&self, older: &MemoryDisk) {
        self.shared.put_back(&older.shared);
    }

    /// Returns the number of writes that no sync covers yet.
    pub fn unsynced(&self) -> usize {
        self.shared.unsynced()
    }

    /// Makes the disk report 0 free bytes, or plenty again.
    pub fn set_full(&self, full: bool) {
        self.shared.set_full(full);
    }

    /// Makes every fsync fail, which poisons the stores on this disk; `false` makes fsyncs succeed for stores opened
    /// later.
    pub fn set_failing(&self, failing: bool) {
        self.shared.set_failing(failing);
    }

    /// Flips a bit of a stored log entry. Returns whether there was one.
    pub fn damage_log(&self, shard: ShardId, index: u64) -> bool {
        self.shared.damage(Column::Log, &keys::log(shard, index), flip)
    }

    /// Flips a bit of a stored row of the state's first generation. Returns whether there was one.
    pub fn damage_state(&self, shard: ShardId, table: TableId, key: &[u8]) -> bool {
        self.shared
            .damage(Column::State(table), &keys::state(shard, 0, key), flip)
    }

    pub(crate) fn shared(&self) -> Arc<SimDisk> {
        self.shared.clone()
    }
}

/// Flips a bit of the last byte.
fn flip(value: &mut [u8]) {
    if let Some(last) = value.last_mut() {
        *last ^= 1;
    }
}
