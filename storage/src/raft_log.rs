//! Raft log and hard state of one shard: operations for the write queue, and reads from disk.
//!
//! Path of a message: step 7 of 13.
//!
//! Entries are sealed (checksum, key) on the calling thread, so that the node's single writer only concatenates. Reads
//! return written entries only. The caller keeps queued entries in memory until `done` has run.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::{EngineRead, WriteBatch};
use crate::store_core::{ShardEntry, StoreCore};
use crate::write_op::{WriteKind, WriteOp};
use crate::{Completion, Durability, Error, HardKey, ScanOrder, ShardId, keys, record};

/// Handle of the log and the hard state of one shard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RaftLog {
    inner: Arc<StoreCore>,
    shard: Arc<ShardEntry>,
}

// === impl RaftLog ===

impl RaftLog {
    pub(crate) fn new(inner: Arc<StoreCore>, shard: Arc<ShardEntry>) -> RaftLog {
        RaftLog { inner, shard }
    }

    /// Returns the id of the shard.
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// Returns the first and last index on disk; `None` if the log is empty.
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, Error> {
        bounds(&*self.inner.engine()?, self.shard.id)
    }

    /// Queues entries of ascending indexes; `done` runs after the fsync that covers them. Returns immediately, unless
    /// the queue is full: then it blocks until the disk has caught up.
    ///
    /// # Errors (passed to `done`)
    /// [`Error::Full`]: nothing was written. Append the same entries again when space is free, before any later ones.
    /// Any other error: see [`Error`].
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Completion) {
        let shard = self.shard.id;
        let mut batch = WriteBatch::default();
        for (index, entry) in &entries {
            batch.put(Column::Log, keys::log(shard, *index), entry);
        }
        // An append without entries is never refused, but its callback still runs in order.
        let kind = match entries.first() {
            Some((first, _)) => WriteKind::Append {
                shard,
                first: *first,
                entries: entries.len() as u64,
            },
            None => WriteKind::Other,
        };
        self.inner.writes.submit(WriteOp {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
    }

    /// Queues the removal of every entry at or above `index`; `done` runs after the fsync.
    pub fn truncate_from(&self, index: u64, done: Completion) {
        let shard = self.shard.id;
        let mut batch = WriteBatch::default();
        // One range tombstone to the end of the shard's log: the last index need not be read.
        batch.delete_range(
            Column::Log,
            keys::log(shard, index),
            keys::log(shard, keys::INDEX_END),
        );
        let kind = WriteKind::Truncate { shard, from: index };
        self.inner.writes.submit(WriteOp {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
    }

    /// Queues the removal of every entry up to and including `index`, with `marker` as [`HardKey::Purged`] in the same
    /// write. Not synced: a purge that a crash discards is repeated.
    pub fn purge_to(&self, index: u64, marker: Bytes) {
        let shard = self.shard.id;
        let end = index.saturating_add(1);
        // Starts at the end of the last purge: overlapping range tombstones would slow every read of the log.
        let start = self.shard.purged.fetch_max(end, Ordering::Relaxed);
        let mut batch = WriteBatch::default();
        // In the same batch: a purge without its marker would look like a log whose first entries are missing.
        batch.delete_range(Column::Log, keys::log(shard, start), keys::log(shard, end));
        batch.put(Column::Hard, keys::hard(shard, HardKey::Purged), &marker);
        self.inner.writes.submit(WriteOp {
            batch,
            kind: WriteKind::Purge { shard, to: index },
            sync: false,
            done: None,
        });
    }

    /// Queues a hard-state value, in order with the log. `done` runs once the value has the requested durability.
    pub fn put_hard(&self, key: HardKey, value: Bytes, durability: Durability, done: Option<Completion>) {
        let mut batch = WriteBatch::default();
        batch.put(Column::Hard, keys::hard(self.shard.id, key), &value);
        let sync = durability == Durability::Synced;
        self.inner.writes.submit(WriteOp {
            batch,
            kind: WriteKind::Other,
            sync,
            done,
        });
    }

    /// Returns a hard-state value; `None` if it was never written.
    pub fn get_hard(&self, key: HardKey) -> Result<Option<Bytes>, Error> {
        self.inner
            .engine()?
            .payload(Column::Hard, &keys::hard(self.shard.id, key))
    }

    /// Returns the written entries of `range` from the first existing one, without a gap. The result holds at least one
    /// entry if any exists, and otherwise as many as fit into `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged entry and for a hole.
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
        self.inner.engine()?.scan(
            Column::Log,
            &from,
            &to,
            ScanOrder::Ascending,
            &mut |key, value| {
                let payload = record::open_slice(Column::Log, key, value)?;
                bytes += payload.len();
                // The first entry always passes, or a reader with a small budget would never advance past a large
                // entry.
                if bytes > max_bytes && !entries.is_empty() {
                    return Ok(ControlFlow::Break(()));
                }
                let index =
                    keys::log_index(key).ok_or_else(|| record::corrupt(Column::Log, key, "not an entry"))?;
                // A hole is damage and not the end: a follower that skipped entries would diverge.
                if entries.last().is_some_and(|(last, _)| last + 1 != index) {
                    return Err(record::corrupt(
                        Column::Log,
                        key,
                        "entries before this one are missing",
                    ));
                }
                entries.push((index, Bytes::copy_from_slice(payload)));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(entries)
    }
}

/// Returns the first and last index of a shard's log; `None` if it is empty.
pub(crate) fn bounds(rows: &dyn EngineRead, shard: ShardId) -> Result<Option<(u64, u64)>, Error> {
    let (from, to) = (keys::log(shard, 0), keys::log(shard, keys::INDEX_END));
    let end = |order| {
        Ok(rows
            .first_key(Column::Log, &from, &to, order)?
            .as_deref()
            .and_then(keys::log_index))
    };
    Ok(end(ScanOrder::Ascending)?.zip(end(ScanOrder::Descending)?))
}
