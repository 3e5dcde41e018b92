//! Core of a store, shared by the handles of all shards, and the driver of its writer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tracing::warn;

use crate::disk_space::{DiskSpaceGuard, SharedSpace};
use crate::engine::memory::MemoryEngine;
use crate::engine::rocks::RocksEngine;
use crate::engine::{Engine, WriteBatch};
use crate::store_health::StoreHealth;
use crate::sync_marker::SyncMarker;
use crate::write_queue::{WriteKind, WriteOp, WriteQueue};
use crate::writer::{self, SharedWriter, StorageWriter};
use crate::{Completion, Config, Error, MemoryOptions, Metrics, ShardId, TableCatalog, recovery};

/// Shared core of all handles of one store.
pub(crate) struct StoreCore {
    /// `None` after close, so that the directory is unlocked although handles remain.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    pub(crate) health: Arc<StoreHealth>,
    pub(crate) space: SharedSpace,
    pub(crate) metrics: Metrics,
    pub(crate) tables: TableCatalog,
    queue: Arc<WriteQueue>,
    shards: Mutex<HashMap<ShardId, Arc<ShardEntry>>>,
    driver: WriterDriver,
}

/// In-memory state of a shard while the store is open.
#[derive(Debug)]
pub(crate) struct ShardEntry {
    pub(crate) id: ShardId,
    /// The generation of the state that readers use.
    pub(crate) generation: AtomicU32,
    /// Every entry below this index is purged; the next purge starts here.
    pub(crate) purged: AtomicU64,
    pub(crate) importing: AtomicBool,
}

/// Execution of the storage writer.
enum WriterDriver {
    /// A thread; `None` after it was joined.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// A task on the simulated runtime. Calls that must complete immediately drive the writer themselves.
    Task(SharedWriter),
    /// The calling thread: without a runtime each call completes before it returns.
    Caller(SharedWriter),
}

/// Age up to which a measured free space is reused by `Store::room`.
const FRESH: Duration = Duration::from_millis(50);

// === impl StoreCore ===

impl StoreCore {
    /// Starts a store on RocksDB with the writer on a thread of its own.
    pub(crate) fn threaded(
        engine: RocksEngine,
        tables: TableCatalog,
        config: &Config,
        marker: SyncMarker,
        round: u64,
    ) -> Result<StoreCore, Error> {
        let metrics = Metrics::default();
        // A measurement may be 50 ms old: `room` runs before every proposal, and statvfs per message would be too
        // expensive.
        let space = DiskSpaceGuard::new(config.reserve_bytes, FRESH, metrics.clone());
        StoreCore::start(
            Arc::new(engine),
            tables,
            metrics,
            space,
            Some(config.queue_bytes),
            |mut writer, queue| {
                // Before the thread starts: afterwards the writer belongs to the thread and cannot be changed.
                writer.on_disk(config.fsync, marker, round);
                let round_bytes = config.round_bytes;
                let thread = thread::Builder::new()
                    .name("storage-writer".to_owned())
                    .spawn(move || writer::run(writer, &queue, round_bytes))
                    .map_err(|error| Error::Io {
                        what: "start the storage writer",
                        why: error.to_string().into(),
                    })?;
                Ok(WriterDriver::Thread(Mutex::new(Some(thread))))
            },
        )
    }

    /// Starts a store on a simulated disk, with the writer on the current runtime if there is one.
    pub(crate) fn simulated(
        engine: MemoryEngine,
        tables: TableCatalog,
        options: MemoryOptions,
    ) -> Result<StoreCore, Error> {
        let metrics = Metrics::default();
        let round = recovery::last_round(&engine)?;
        // A simulated disk reports 0 or u64::MAX free bytes, so any small reserve tells the two apart.
        // Freshness zero keeps the result independent of the wall clock, which a deterministic simulation must not
        // depend on.
        let space = DiskSpaceGuard::new(2, Duration::ZERO, metrics.clone());
        // No bound on the queue: a caller that blocked would block the only thread, on which the writer runs too.
        StoreCore::start(
            Arc::new(engine),
            tables,
            metrics,
            space,
            None,
            |mut writer, queue| {
                writer.go_on(round);
                let writer = Arc::new(Mutex::new(writer));
                let Ok(runtime) = Handle::try_current() else {
                    return Ok(WriterDriver::Caller(writer));
                };
                runtime.spawn(writer::run_task(writer.clone(), queue, 4 << 20, options));
                Ok(WriterDriver::Task(writer))
            },
        )
    }

    fn start(
        engine: Arc<dyn Engine>,
        tables: TableCatalog,
        metrics: Metrics,
        space: DiskSpaceGuard,
        queue_bytes: Option<usize>,
        drive: impl FnOnce(StorageWriter, Arc<WriteQueue>) -> Result<WriterDriver, Error>,
    ) -> Result<StoreCore, Error> {
        let space = Arc::new(space);
        let health = Arc::new(StoreHealth::new(metrics.clone()));
        let queue = Arc::new(WriteQueue::new(queue_bytes, metrics.clone()));
        // Leftovers of unfinished imports are swept before the writer starts, so no write can race with the sweep.
        let shards = recovery::shards(&*engine, tables)?
            .into_iter()
            .map(|(id, generation)| (id, Arc::new(ShardEntry::new(id, generation))))
            .collect();
        let writer = StorageWriter::new(engine.clone(), health.clone(), space.clone(), metrics.clone());
        let driver = drive(writer, queue.clone())?;
        Ok(StoreCore {
            engine: RwLock::new(Some(engine)),
            health,
            space,
            metrics,
            tables,
            queue,
            shards: Mutex::new(shards),
            driver,
        })
    }

    /// Returns the engine, or the error for which no call may use it.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>, Error> {
        self.health.check()?;
        self.engine.read().clone().ok_or(Error::Closed)
    }

    /// Queues an operation for the writer. Blocks while the queue is full.
    pub(crate) fn submit(&self, work: WriteOp) {
        // Checked here too: after a panic of the writer the closed queue would return `Closed` instead of the poison.
        if let Err(error) = self.health.check() {
            if let Some(done) = work.done {
                done(Err(error));
            }
            return;
        }
        self.queue.push(work);
        if let WriterDriver::Caller(writer) = &self.driver {
            self.complete(writer);
        }
    }

    /// Writes a batch through the writer and blocks until it and every earlier write are durable. Must not be called
    /// from a callback: callbacks run on the thread that would execute the write.
    pub(crate) fn synced(&self, batch: WriteBatch, kind: WriteKind) -> Result<(), Error> {
        self.health.check()?;
        // Capacity 1: the writer thread must never block on a caller.
        let (sender, receiver) = mpsc::sync_channel(1);
        let done: Completion = Box::new(move |result| {
            // Sending fails only if the waiting thread has ended, and then no caller is left.
            let _ = sender.send(result);
        });
        self.queue.push(WriteOp {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
        // The task of the simulation cannot run while this thread blocks, so the caller drives the writer itself.
        if let WriterDriver::Task(writer) | WriterDriver::Caller(writer) = &self.driver {
            self.complete(writer);
        }
        // A callback dropped without a call means that the writer panicked; the poison set by its guard is the real
        // cause.
        receiver
            .recv()
            .unwrap_or_else(|_| Err(self.health.poisoned().cloned().unwrap_or(Error::Closed)))
    }

    /// Returns the in-memory state of a shard, created on first use.
    pub(crate) fn shard(&self, id: ShardId) -> Arc<ShardEntry> {
        self.shards
            .lock()
            .entry(id)
            .or_insert_with(|| Arc::new(ShardEntry::new(id, 0)))
            .clone()
    }

    /// Stops the writer after the queued operations, and drops the engine. Later calls do nothing.
    pub(crate) fn close(&self) {
        // Runs once: `Drop` closes again after an explicit close.
        if !self.health.close() {
            return;
        }
        // Closed before the join: the writer thread ends only when the queue is closed and empty.
        self.queue.close();
        match &self.driver {
            WriterDriver::Thread(thread) => {
                let thread = thread.lock().take();
                // A callback may drop the last handle on the writer's own thread, and joining itself would deadlock.
                if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
                    && thread.join().is_err()
                {
                    warn!("storage writer panicked");
                }
            }
            WriterDriver::Task(writer) | WriterDriver::Caller(writer) => {
                self.complete(writer);
                writer.lock().final_sync();
            }
        }
        // Last: handles that remain would keep the database and its directory lock otherwise.
        *self.engine.write() = None;
    }

    /// Executes every queued operation on the calling thread, after the group in flight. Simulation only.
    fn complete(&self, writer: &SharedWriter) {
        let mut work = Vec::new();
        loop {
            let mut writer = writer.lock();
            // The group of the task comes first: its callbacks must run before those of later operations.
            let mut answers = writer.finish();
            self.queue.take(usize::MAX, &mut work);
            let idle = work.is_empty();
            if !idle {
                writer.begin(&mut work);
                answers.extend(writer.finish());
            }
            // Callbacks run without the lock: they may submit again, and that would lock the writer a second time.
            drop(writer);
            writer::answer(answers);
            if idle {
                return;
            }
        }
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for StoreCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("health", &self.health.check())
            .finish_non_exhaustive()
    }
}

// === impl ShardEntry ===

impl ShardEntry {
    pub(crate) fn new(id: ShardId, generation: u32) -> ShardEntry {
        let (generation, purged) = (AtomicU32::new(generation), AtomicU64::new(0));
        ShardEntry {
            id,
            generation,
            purged,
            importing: AtomicBool::new(false),
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }
}
