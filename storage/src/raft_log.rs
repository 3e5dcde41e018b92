//! The Raft log of one shard, and its hard state: what is queued for the writer, and what is read from disk.
//!
//! Entries are sealed (checksum, key) on the calling thread, so the one writer of the node only concatenates.
//! Reads see what is written. Entries still in the queue are the caller's to remember: it has them in memory
//! anyway, until `done` ran.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::{Batch, Read};
use crate::inner::{Inner, Shard};
use crate::queue::{Kind, Work};
use crate::{Durability, Error, HardKey, Order, ShardId, keys, record};

/// Told the outcome of a queued operation, once and in the order of the calls, on the writer's thread: must not
/// block, nor call anything that waits for the writer (`sync`, `put_node`, `close`).
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The log and the hard state of one shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(inner: Arc<Inner>, shard: Arc<Shard>) -> Log {
        Log { inner, shard }
    }

    /// Returns the shard.
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// Returns the first and last index on disk.
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, Error> {
        bounds(&*self.inner.engine()?, self.shard.id)
    }

    /// Queues entries of ascending indexes; `done` runs after the fsync that covers them. Returns at once, unless
    /// the queue is full: then it waits for the disk.
    ///
    /// # Errors (given to `done`)
    /// [`Error::Full`]: nothing was written; append the same entries again when there is room, before any later
    /// ones. Anything else: see [`Error`].
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let shard = self.shard.id;
        let mut batch = Batch::default();
        for (index, entry) in &entries {
            batch.put(Column::Log, keys::log(shard, *index), entry);
        }
        let kind = match entries.first() {
            Some((first, _)) => Kind::Append {
                shard,
                first: *first,
                entries: entries.len() as u64,
            },
            None => Kind::Other,
        };
        self.inner.submit(Work {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
    }

    /// Queues the removal of every entry at or above `index`; `done` runs after the fsync.
    pub fn truncate_from(&self, index: u64, done: Done) {
        let shard = self.shard.id;
        let mut batch = Batch::default();
        batch.delete_range(
            Column::Log,
            keys::log(shard, index),
            keys::log(shard, keys::INDEX_END),
        );
        let kind = Kind::Truncate { shard, from: index };
        self.inner.submit(Work {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
    }

    /// Queues the removal of every entry up to and including `index`, with `marker` as [`HardKey::Purged`] in the
    /// same write. Not synced: a purge that a crash forgets is done again.
    pub fn purge_to(&self, index: u64, marker: Bytes) {
        let shard = self.shard.id;
        let end = index.saturating_add(1);
        // From where the last purge ended: overlapping range tombstones would slow every read of the log.
        let start = self.shard.purged.fetch_max(end, Ordering::Relaxed);
        let mut batch = Batch::default();
        batch.delete_range(Column::Log, keys::log(shard, start), keys::log(shard, end));
        batch.put(Column::Hard, keys::hard(shard, HardKey::Purged), &marker);
        self.inner.submit(Work {
            batch,
            kind: Kind::Purge { shard, to: index },
            sync: false,
            done: None,
        });
    }

    /// Queues a hard-state value, in order with the log; `done` runs when it is as durable as asked.
    pub fn put_hard(&self, key: HardKey, value: Bytes, durability: Durability, done: Option<Done>) {
        let mut batch = Batch::default();
        batch.put(Column::Hard, keys::hard(self.shard.id, key), &value);
        let sync = durability == Durability::Synced;
        self.inner.submit(Work {
            batch,
            kind: Kind::Other,
            sync,
            done,
        });
    }

    /// Returns a hard-state value.
    pub fn get_hard(&self, key: HardKey) -> Result<Option<Bytes>, Error> {
        self.inner
            .engine()?
            .payload(Column::Hard, &keys::hard(self.shard.id, key))
    }

    /// Returns the written entries of `range`, from the first that exists, without a gap: at least one if any
    /// exists, and then as many as fit into `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged entry, and for a hole.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let mut entries: Vec<(u64, Bytes)> = Vec::new();
        if range.is_empty() {
            return Ok(entries);
        }
        let (from, to) = (
            keys::log(self.shard.id, range.start),
            keys::log(self.shard.id, range.end),
        );
        let mut bytes = 0;
        self.inner
            .engine()?
            .scan(Column::Log, &from, &to, Order::Ascending, &mut |key, value| {
                let payload = record::open_slice(Column::Log, key, value)?;
                bytes += payload.len();
                if bytes > max_bytes && !entries.is_empty() {
                    return Ok(ControlFlow::Break(()));
                }
                let index =
                    keys::log_index(key).ok_or_else(|| record::corrupt(Column::Log, key, "not an entry"))?;
                if entries.last().is_some_and(|(last, _)| last + 1 != index) {
                    return Err(record::corrupt(
                        Column::Log,
                        key,
                        "entries before this one are missing",
                    ));
                }
                entries.push((index, Bytes::copy_from_slice(payload)));
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(entries)
    }
}

/// Returns the first and last index of a shard's log.
pub(crate) fn bounds(rows: &dyn Read, shard: ShardId) -> Result<Option<(u64, u64)>, Error> {
    let (from, to) = (keys::log(shard, 0), keys::log(shard, keys::INDEX_END));
    let end = |order| {
        Ok(rows
            .first_key(Column::Log, &from, &to, order)?
            .as_deref()
            .and_then(keys::log_index))
    };
    Ok(end(Order::Ascending)?.zip(end(Order::Descending)?))
}
