//! The simulated disk, as a simulation holds it in its hands.

use std::sync::Arc;
use std::time::Duration;

use crate::columns::Column;
use crate::engine::memory::Disk;
use crate::{ShardId, Table, keys};

/// A disk in memory that outlives the stores opened on it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Disk>,
}

/// How a simulated disk behaves.
#[derive(Debug, Clone, Default)]
pub struct MemoryOptions {
    /// Simulated time of one fsync.
    pub sync_delay: Duration,
    /// Acknowledges before the sync: a known bug, kept so that a simulation can prove that it catches it.
    pub ack_before_sync: bool,
}

// === impl MemoryDisk ===

impl MemoryDisk {
    /// Returns an empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Power cut: drops everything not synced. Stores opened before answer [`Error::Closed`](crate::Error) from
    /// now, queued operations included.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Power cut of a disk that had already written back the first `keep` unsynced writes (all of them when there
    /// are fewer). Every value is a crash that may happen.
    pub fn crash_keeping(&self, keep: usize) {
        self.shared.crash(keep);
    }

    /// Returns another disk with what a power cut now would leave on this one.
    pub fn copy(&self) -> MemoryDisk {
        let copy = MemoryDisk::new();
        copy.put_back(self);
        copy
    }

    /// Exchanges what is on this disk, as after a crash, for what a power cut would leave on the other.
    pub fn put_back(&self, older: &MemoryDisk) {
        self.shared.put_back(&older.shared);
    }

    /// Returns the number of writes that no sync covers yet.
    pub fn unsynced(&self) -> usize {
        self.shared.unsynced()
    }

    /// Makes the disk full, or gives space back.
    pub fn set_full(&self, full: bool) {
        self.shared.set_full(full);
    }

    /// Makes every fsync fail, which poisons the stores on this disk, or heals it for stores opened later.
    pub fn set_failing(&self, failing: bool) {
        self.shared.set_failing(failing);
    }

    /// Flips a bit of a stored log entry. Returns whether there was one.
    pub fn damage_log(&self, shard: ShardId, index: u64) -> bool {
        self.shared.damage(Column::Log, &keys::log(shard, index), flip)
    }

    /// Flips a bit of a stored row of the state's first generation. Returns whether there was one.
    pub fn damage_state(&self, shard: ShardId, table: Table, key: &[u8]) -> bool {
        self.shared
            .damage(Column::State(table), &keys::state(shard, 0, key), flip)
    }

    pub(crate) fn shared(&self) -> Arc<Disk> {
        self.shared.clone()
    }
}

/// Flips a bit of the last byte.
fn flip(value: &mut [u8]) {
    if let Some(last) = value.last_mut() {
        *last ^= 1;
    }
}
