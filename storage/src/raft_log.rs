//! The Raft log of one shard.

use std::ops::Range;

use bytes::Bytes;

use crate::{Durability, Error, HardKey, ShardId};

/// Told the outcome of a queued operation, once, on the writer's thread: must not block.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The log and the hard state of one shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    pub(crate) shard: ShardId,
}

// === impl Log ===

impl Log {
    /// Returns the shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns the first and last index on disk.
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, Error> {
        Err(Error::Closed)
    }

    /// Queues entries; `done` runs after the fsync that covers them.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let _ = entries;
        done(Err(Error::Closed));
    }

    /// Queues the removal of every entry at or above `index`; `done` runs after the fsync.
    pub fn truncate_from(&self, index: u64, done: Done) {
        let _ = index;
        done(Err(Error::Closed));
    }

    /// Queues the removal of every entry up to and including `index` and writes `HardKey::Purged`. No sync.
    pub fn purge_to(&self, index: u64, marker: Bytes) {
        let _ = (index, marker);
    }

    /// Queues a hard-state value.
    pub fn put_hard(&self, key: HardKey, value: Bytes, durability: Durability, done: Option<Done>) {
        let _ = (key, value, durability);
        if let Some(done) = done {
            done(Err(Error::Closed));
        }
    }

    /// Returns a hard-state value.
    pub fn get_hard(&self, key: HardKey) -> Result<Option<Bytes>, Error> {
        let _ = key;
        Err(Error::Closed)
    }

    /// Returns the written entries of `range` without a gap, at least one if any exists, up to `max_bytes`.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let _ = (range, max_bytes);
        Err(Error::Closed)
    }
}
