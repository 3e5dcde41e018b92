//! Storage writer: one per node, commits the logs of all shards in groups.
//!
//! Spine: step 7 of 13. Previous: `cluster: raft/log_store`. Next: `cluster: raft/network`.
//!
//! ```text
//!  append  vote  truncate  purge      of all shards, in the order of the calls
//!     \      \      |      /
//!      queue, bounded in bytes
//!               |
//!       take up to 4 MiB  ->  one write  ->  one fsync, if an operation asked for it  ->  all callbacks, in order
//!               ^                                                                            |
//!               +----------------------------------------------------------------------------+
//! ```
//!
//! The completion callback, by which `cluster` counts the entry as stored on this node, is called last.
//!
//! Queue: the [write queue](crate::write_queue), bounded by [`Config::queue_bytes`](crate::Config). A caller blocks while
//! it is full. Metrics: `storage_queue_length`, `storage_queue_bytes`.
//!
//! While an fsync runs, the next group accumulates in the queue: the higher the load, the more entries share an fsync.
//! A dedicated thread keeps RocksDB's write stalls off the callers. Reasons:
//! docs/decisions/0005-group-commit-writer.md.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fail::fail_point;
use tracing::warn;

use crate::columns::Column;
use crate::disk_space::SharedSpace;
use crate::engine::{Engine, WriteBatch};
use crate::store_health::StoreHealth;
use crate::sync_marker::SyncMarker;
use crate::write_op::{WriteKind, WriteOp};
use crate::{Completion, Error, Metrics, ShardId, keys};

/// Writes commit groups, as the [write queue](crate::write_queue) drives it.
pub(crate) struct StorageWriter {
    engine: Arc<dyn Engine>,
    pub(crate) health: Arc<StoreHealth>,
    space: SharedSpace,
    metrics: Metrics,
    marker: Option<SyncMarker>,
    /// False in os mode: a group completes when the operating system has it.
    fsync: bool,
    /// Number of the last synced commit group.
    round: u64,
    /// First missing log index of each shard whose last append was refused. Later entries would leave a hole there.
    refused: HashMap<ShardId, u64>,
    /// The group that is written and not yet synced.
    flight: Option<CommitGroup>,
}

/// Operations that are written and synced together.
pub(crate) struct CommitGroup {
    batch: WriteBatch,
    entries: u64,
    sync: bool,
    answers: Vec<CompletionResult>,
}

/// Callbacks and their results.
pub(crate) type CompletionResult = (Completion, Result<(), Error>);

// === impl StorageWriter ===

impl StorageWriter {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        health: Arc<StoreHealth>,
        space: SharedSpace,
        metrics: Metrics,
    ) -> StorageWriter {
        let (refused, flight) = (HashMap::new(), None);
        StorageWriter {
            engine,
            health,
            space,
            metrics,
            marker: None,
            fsync: true,
            round: 0,
            refused,
            flight,
        }
    }

    /// Configures a writer for a real disk.
    pub(crate) fn on_disk(&mut self, fsync: bool, marker: SyncMarker, round: u64) {
        self.metrics.fsync_enabled.set(i64::from(fsync));
        self.fsync = fsync;
        self.marker = Some(marker);
        self.go_on(round);
    }

    /// Continues the numbering after the last synced commit group on the disk.
    pub(crate) fn go_on(&mut self, round: u64) {
        self.round = round;
        self.health.synced(self.fsync.then_some(round));
    }

    /// Writes a commit group. Its callbacks are held until [`Self::finish`].
    pub(crate) fn begin(&mut self, work: &mut Vec<WriteOp>) {
        debug_assert!(self.flight.is_none(), "one round at a time");
        // Set before the write, since RocksDB stalls a write on its own when compaction falls behind.
        self.health.busy(Some(Instant::now()));
        let mut round = self.gather(work);
        // The number is part of the group's own write: it is durable exactly when the group is.
        // Os mode does not count, because a number that no fsync covers would prove nothing at the next open.
        if round.sync && self.fsync {
            self.round += 1;
            round
                .batch
                .put(Column::Node, keys::ROUND, &self.round.to_be_bytes());
        }
        let batch = std::mem::take(&mut round.batch);
        self.metrics.rounds.inc();
        self.metrics.entries.inc_by(round.entries);
        self.metrics.bytes.inc_by(batch.bytes as u64);
        if let Err(error) = self.write(batch) {
            // The group stays in flight, so that `finish` still runs its callbacks, now with the error.
            self.fail_group(&mut round, error);
        }
        self.flight = Some(round);
    }

    /// Syncs the written group and returns its callbacks, to be run without the writer's lock.
    pub(crate) fn finish(&mut self) -> Vec<CompletionResult> {
        let Some(mut round) = self.flight.take() else {
            return Vec::new();
        };
        // A failed write has cleared `sync`: a successful fsync after it would prove nothing.
        if round.sync
            && let Err(error) = self.sync(round.entries)
        {
            self.fail_group(&mut round, error);
        }
        self.health.busy(None);
        round.answers
    }

    /// Makes every write durable before the disk is closed, unsynced state writes included.
    pub(crate) fn final_sync(&mut self) {
        if self.usable().is_err() {
            return;
        }
        // The marker file is synced only here: it may lag behind the database, but must never be ahead of it.
        let result = self
            .engine
            .sync()
            .and_then(|()| self.marker.as_ref().map_or(Ok(()), SyncMarker::sync));
        if let Err(error) = result {
            self.health.fail(error);
        }
    }

    /// Returns whether a written group is not yet synced.
    pub(crate) fn in_flight(&self) -> bool {
        self.fsync && self.flight.as_ref().is_some_and(|round| round.sync)
    }

    /// Removes the callbacks of an unsynced group: the seeded bug of early acknowledgement.
    pub(crate) fn answers(&mut self) -> Vec<CompletionResult> {
        self.flight
            .as_mut()
            .map(|round| std::mem::take(&mut round.answers))
            .unwrap_or_default()
    }

    /// Merges operations into one batch. A refused operation changes nothing on disk.
    fn gather(&mut self, work: &mut Vec<WriteOp>) -> CommitGroup {
        // Checked once per group, and only for appends: votes, truncations and purges must pass on a full disk.
        let bytes = work.iter().map(|work| work.batch.bytes).sum();
        let grows = work
            .iter()
            .any(|work| matches!(work.kind, WriteKind::Append { .. }));
        let room = if grows {
            self.space.allow(&*self.engine, bytes)
        } else {
            Ok(())
        };
        let answers = Vec::with_capacity(work.len());
        let mut round = CommitGroup {
            batch: WriteBatch::default(),
            entries: 0,
            sync: false,
            answers,
        };
        for work in work.drain(..) {
            // Admitted in queue order: a truncate or purge earlier in this group can close the hole that a later append
            // needs.
            let admitted = self.admit(&work.kind, &room);
            if admitted.is_ok() {
                round.batch.append(work.batch);
                round.sync |= work.sync;
                if let WriteKind::Append { entries, .. } = work.kind {
                    round.entries += entries;
                }
            } else {
                self.metrics.refused.inc();
            }
            // A refused operation keeps its place among the callbacks, because callers rely on the order of their
            // calls.
            round.answers.extend(work.done.map(|done| (done, admitted)));
        }
        round
    }

    /// Refuses an append on a full disk, and every later append that would leave a hole.
    fn admit(&mut self, kind: &WriteKind, room: &Result<(), Error>) -> Result<(), Error> {
        match *kind {
            WriteKind::Other => Ok(()),
            WriteKind::Truncate { shard, from } => {
                // A truncation at or below the hole removes it: the next append starts there or below.
                if self.refused.get(&shard).is_some_and(|missing| from <= *missing) {
                    self.refused.remove(&shard);
                }
                Ok(())
            }
            WriteKind::Purge { shard, to } => {
                // A snapshot replaced the refused entries: the log continues after it.
                if self.refused.get(&shard).is_some_and(|missing| *missing <= to) {
                    self.refused.remove(&shard);
                }
                Ok(())
            }
            WriteKind::Append { shard, first, .. } => {
                let missing = self.refused.get(&shard).copied();
                if let Err(error) = room {
                    // The lowest missing index counts: a retry may start lower than the append that was refused first.
                    let missing = missing.unwrap_or(first).min(first);
                    if self.refused.insert(shard, missing).is_none() {
                        warn!(%shard, first, %error, "append refused");
                    }
                    return Err(error.clone());
                }
                // Space may be free again, but entries behind a hole must not become durable without those in it.
                if missing.is_some_and(|missing| first > missing) {
                    return Err(Error::Misuse(
                        "entries before these were refused; append those again first",
                    ));
                }
                self.refused.remove(&shard);
                Ok(())
            }
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        self.usable()?;
        if batch.is_empty() {
            return Ok(());
        }
        fail_point!("storage::before_write");
        fail_point!("storage::write_error", |_| Err(self.health.fail(Error::Io {
            what: "write",
            why: "injected".into()
        })));
        self.engine
            .write(batch)
            .map_err(|error| self.health.fail(error))?;
        fail_point!("storage::after_write");
        Ok(())
    }

    fn sync(&self, entries: u64) -> Result<(), Error> {
        self.usable()?;
        if !self.fsync {
            return self.engine.flush().map_err(|error| self.health.fail(error));
        }
        fail_point!("storage::before_sync");
        fail_point!("storage::sync_error", |_| Err(self.health.fail(Error::Io {
            what: "fsync",
            why: "injected".into()
        })));
        let started = Instant::now();
        // No retry: the kernel may have dropped the dirty pages, and a second fsync would then succeed without them.
        self.engine.sync().map_err(|error| self.health.fail(error))?;
        fail_point!("storage::after_sync");
        self.metrics.fsyncs.inc();
        let took = started.elapsed();
        self.metrics.fsync_seconds.observe(took.as_secs_f64());
        self.metrics.fsync_latency.observe(took);
        self.metrics.entries_per_fsync.observe(entries as f64);
        // Only after the fsync: a marker ahead of the database would condemn a healthy disk after a power cut.
        if let Some(marker) = &self.marker {
            marker.note(self.round).map_err(|error| self.health.fail(error))?;
        }
        // Published last: other nodes hold this disk to the number (docs/decisions/0009-a-disk-that-went-back.md).
        self.health.synced(Some(self.round));
        fail_point!("storage::before_ack");
        Ok(())
    }

    /// Refuses writes to a poisoned store. A closed store still writes the operations queued before.
    fn usable(&self) -> Result<(), Error> {
        self.health
            .poisoned()
            .map_or(Ok(()), |poison| Err(poison.clone()))
    }

    /// Fails every operation of the group that was not refused before.
    fn fail_group(&self, round: &mut CommitGroup, error: Error) {
        round.sync = false;
        for (_, result) in &mut round.answers {
            if result.is_ok() {
                *result = Err(error.clone());
            }
        }
    }
}
