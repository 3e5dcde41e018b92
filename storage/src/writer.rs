//! Step 7 of a message: the storage writer, one a node, commits the logs of all shards in groups.
//!
//! ```text
//!  append  vote  truncate  purge      of all shards, in the order of the calls
//!     \      \      |      /
//!      queue, bounded in bytes
//!               |
//!       take up to 4 MiB  ->  one write  ->  one fsync, if anything asked for it  ->  all answers, in order
//!               ^                                                                        |
//!               +------------------------------------------------------------------------+
//! ```
//!
//! While an fsync runs, the next round gathers by itself: the busier the node, the more entries share an fsync.
//! The idea is raft-engine's queue leader; a thread of its own keeps RocksDB's stalls off the callers.
//!
//! Before: `cluster` proposes and appends. After: its callback counts the entry as stored here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fail::fail_point;
use parking_lot::Mutex;
use tracing::warn;

use crate::columns::Column;
use crate::engine::{Batch, Engine};
use crate::health::Health;
use crate::keys;
use crate::queue::{Kind, Queue, Work};
use crate::space::SharedSpace;
use crate::witness::Witness;
use crate::{Done, Error, MemoryOptions, Metrics, ShardId};

/// Writes rounds. Driven by [`run`] or [`run_task`], or by the caller itself in a simulation without a runtime.
pub(crate) struct Writer {
    engine: Arc<dyn Engine>,
    health: Arc<Health>,
    space: SharedSpace,
    metrics: Metrics,
    witness: Option<Witness>,
    /// False in os mode: a round counts as done when the operating system has it.
    fsync: bool,
    /// Number of the last synced round.
    round: u64,
    /// Where a log has a hole because an append was refused: the first index that is missing.
    refused: HashMap<ShardId, u64>,
    /// Written, not yet synced.
    flight: Option<Round>,
}

/// What is written and synced together.
pub(crate) struct Round {
    batch: Batch,
    entries: u64,
    sync: bool,
    answers: Vec<Answer>,
}

/// Callbacks and what they are told.
pub(crate) type Answer = (Done, Result<(), Error>);

/// How a simulation shares the writer between its task and calls that complete in place.
pub(crate) type SharedWriter = Arc<Mutex<Writer>>;

// === the loops ===

/// Writes rounds on the calling thread until the queue is closed and empty.
pub(crate) fn run(mut writer: Writer, queue: &Queue, round_bytes: usize) {
    let _guard = PanicGuard {
        health: writer.health.clone(),
        queue,
    };
    let mut work = Vec::new();
    while queue.wait(round_bytes, &mut work) {
        writer.begin(&mut work);
        answer(writer.finish());
    }
    writer.retire();
}

/// As [`run`], as a task in simulation: an fsync takes time of the runtime.
pub(crate) async fn run_task(
    writer: SharedWriter,
    queue: Arc<Queue>,
    round_bytes: usize,
    options: MemoryOptions,
) {
    let mut work = Vec::new();
    loop {
        let (sync, early) = {
            // Taken under the lock: a call that completes in place finds its work in the queue or at the disk,
            // never in between, where it would wait for a time that doesn't pass while it waits.
            let mut locked = writer.lock();
            if !queue.take(round_bytes, &mut work) {
                return;
            }
            if work.is_empty() {
                drop(locked);
                queue.notify.notified().await;
                continue;
            }
            locked.begin(&mut work);
            let early = if options.ack_before_sync {
                locked.answers()
            } else {
                Vec::new()
            };
            (locked.in_flight(), early)
        };
        answer(early);
        if sync {
            tokio::time::sleep(options.sync_delay).await;
        }
        let answers = writer.lock().finish();
        answer(answers);
    }
}

/// Runs callbacks in order.
pub(crate) fn answer(answers: Vec<Answer>) {
    for (done, result) in answers {
        done(result);
    }
}

/// A writer that panicked answers nobody: poison the store so that nobody waits.
struct PanicGuard<'q> {
    health: Arc<Health>,
    queue: &'q Queue,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let poison = self.health.fail(Error::Io {
                what: "storage writer",
                why: "panicked".into(),
            });
            self.queue.close();
            let mut left = Vec::new();
            self.queue.take(usize::MAX, &mut left);
            for done in left.into_iter().filter_map(|work| work.done) {
                done(Err(poison.clone()));
            }
        }
    }
}

// === impl Writer ===

impl Writer {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        health: Arc<Health>,
        space: SharedSpace,
        metrics: Metrics,
    ) -> Writer {
        let (refused, flight) = (HashMap::new(), None);
        Writer {
            engine,
            health,
            space,
            metrics,
            witness: None,
            fsync: true,
            round: 0,
            refused,
            flight,
        }
    }

    /// Tells a writer of what is on a real disk.
    pub(crate) fn on_disk(&mut self, fsync: bool, witness: Witness, round: u64) {
        self.metrics.fsync_enabled.set(i64::from(fsync));
        self.fsync = fsync;
        self.witness = Some(witness);
        self.go_on(round);
    }

    /// Counts on from the last synced round on the disk.
    pub(crate) fn go_on(&mut self, round: u64) {
        self.round = round;
        self.health.synced(self.fsync.then_some(round));
    }

    /// Writes a round. Its callbacks wait for [`Writer::finish`].
    pub(crate) fn begin(&mut self, work: &mut Vec<Work>) {
        debug_assert!(self.flight.is_none(), "one round at a time");
        self.health.busy(Some(Instant::now()));
        let mut round = self.gather(work);
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
            self.spoil(&mut round, error);
        }
        self.flight = Some(round);
    }

    /// Syncs the round that was begun and returns its callbacks, to be run without the writer's lock.
    pub(crate) fn finish(&mut self) -> Vec<Answer> {
        let Some(mut round) = self.flight.take() else {
            return Vec::new();
        };
        if round.sync
            && let Err(error) = self.sync(round.entries)
        {
            self.spoil(&mut round, error);
        }
        self.health.busy(None);
        round.answers
    }

    /// Makes everything durable once more, state writes included, before the disk is let go.
    pub(crate) fn retire(&mut self) {
        if self.usable().is_err() {
            return;
        }
        let result = self
            .engine
            .sync()
            .and_then(|()| self.witness.as_ref().map_or(Ok(()), Witness::sync));
        if let Err(error) = result {
            self.health.fail(error);
        }
    }

    /// Returns whether a written round waits for its fsync.
    fn in_flight(&self) -> bool {
        self.fsync && self.flight.as_ref().is_some_and(|round| round.sync)
    }

    /// Takes the callbacks of a round that is not synced: the known bug of acknowledging too early.
    fn answers(&mut self) -> Vec<Answer> {
        self.flight
            .as_mut()
            .map(|round| std::mem::take(&mut round.answers))
            .unwrap_or_default()
    }

    /// Merges operations into one batch. What is refused here changes nothing on disk.
    fn gather(&mut self, work: &mut Vec<Work>) -> Round {
        let bytes = work.iter().map(|work| work.batch.bytes).sum();
        let grows = work.iter().any(|work| matches!(work.kind, Kind::Append { .. }));
        let room = if grows {
            self.space.allow(&*self.engine, bytes)
        } else {
            Ok(())
        };
        let answers = Vec::with_capacity(work.len());
        let mut round = Round {
            batch: Batch::default(),
            entries: 0,
            sync: false,
            answers,
        };
        for work in work.drain(..) {
            let admitted = self.admit(&work.kind, &room);
            if admitted.is_ok() {
                round.batch.append(work.batch);
                round.sync |= work.sync;
                if let Kind::Append { entries, .. } = work.kind {
                    round.entries += entries;
                }
            } else {
                self.metrics.refused.inc();
            }
            round.answers.extend(work.done.map(|done| (done, admitted)));
        }
        round
    }

    /// Refuses an append on a full disk, and every later append that would leave a hole where it was.
    fn admit(&mut self, kind: &Kind, room: &Result<(), Error>) -> Result<(), Error> {
        match *kind {
            Kind::Other => Ok(()),
            Kind::Truncate { shard, from } => {
                if self.refused.get(&shard).is_some_and(|missing| from <= *missing) {
                    self.refused.remove(&shard);
                }
                Ok(())
            }
            Kind::Purge { shard, to } => {
                // A snapshot took the place of what was refused: the log goes on behind it.
                if self.refused.get(&shard).is_some_and(|missing| *missing <= to) {
                    self.refused.remove(&shard);
                }
                Ok(())
            }
            Kind::Append { shard, first, .. } => {
                let missing = self.refused.get(&shard).copied();
                if let Err(error) = room {
                    let missing = missing.unwrap_or(first).min(first);
                    if self.refused.insert(shard, missing).is_none() {
                        warn!(%shard, first, %error, "append refused");
                    }
                    return Err(error.clone());
                }
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

    fn write(&self, batch: Batch) -> Result<(), Error> {
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
        self.engine.sync().map_err(|error| self.health.fail(error))?;
        fail_point!("storage::after_sync");
        self.metrics.fsyncs.inc();
        self.metrics
            .fsync_seconds
            .observe(started.elapsed().as_secs_f64());
        self.metrics.entries_per_fsync.observe(entries as f64);
        if let Some(witness) = &self.witness {
            witness
                .note(self.round)
                .map_err(|error| self.health.fail(error))?;
        }
        self.health.synced(Some(self.round));
        fail_point!("storage::before_ack");
        Ok(())
    }

    /// A poisoned store writes nothing more; a closed one still writes what was queued before.
    fn usable(&self) -> Result<(), Error> {
        self.health
            .poisoned()
            .map_or(Ok(()), |poison| Err(poison.clone()))
    }

    /// Tells everybody in the round, except who was refused already.
    fn spoil(&self, round: &mut Round, error: Error) {
        round.sync = false;
        for (_, result) in &mut round.answers {
            if result.is_ok() {
                *result = Err(error.clone());
            }
        }
    }
}
