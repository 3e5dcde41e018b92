//! What handles of all kinds share, and who drives the writer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tracing::warn;

use crate::engine::memory::Memory;
use crate::engine::rocks::Rocks;
use crate::engine::{Batch, Engine};
use crate::health::Health;
use crate::queue::{Kind, Queue, Work};
use crate::recovery;
use crate::space::{SharedSpace, Space};
use crate::witness::Witness;
use crate::writer::{self, SharedWriter, Writer};
use crate::{Config, Done, Error, MemoryOptions, Metrics, ShardId};

/// The shared part of all handles.
pub(crate) struct Inner {
    /// Gone when closed, so that the directory is free although handles linger.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    pub(crate) health: Arc<Health>,
    pub(crate) space: SharedSpace,
    pub(crate) metrics: Metrics,
    queue: Arc<Queue>,
    shards: Mutex<HashMap<ShardId, Arc<Shard>>>,
    driver: Driver,
}

/// What is remembered of a shard while the store is open.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    /// The generation of the state that is read.
    pub(crate) generation: AtomicU32,
    /// Entries below are gone: where the next purge starts.
    pub(crate) purged: AtomicU64,
    pub(crate) importing: AtomicBool,
}

/// Who runs the writer.
enum Driver {
    /// A thread; taken when it is joined.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// A task of the simulation. Calls that must complete at once take the writer in their own hands.
    Task(SharedWriter),
    /// Nobody: without a runtime each call completes inside itself.
    Caller(SharedWriter),
}

/// How long a look at the free space is believed.
const FRESH: Duration = Duration::from_millis(50);

// === impl Inner ===

impl Inner {
    /// Starts a store on RocksDB with the writer on a thread of its own.
    pub(crate) fn threaded(
        engine: Rocks,
        config: &Config,
        witness: Witness,
        round: u64,
    ) -> Result<Inner, Error> {
        let metrics = Metrics::default();
        let space = Space::new(config.reserve_bytes, FRESH, metrics.clone());
        Inner::start(
            Arc::new(engine),
            metrics,
            space,
            Some(config.queue_bytes),
            |mut writer, queue| {
                writer.on_disk(config.fsync, witness, round);
                let round_bytes = config.round_bytes;
                let thread = thread::Builder::new()
                    .name("storage-writer".to_owned())
                    .spawn(move || writer::run(writer, &queue, round_bytes))
                    .map_err(|error| Error::Io {
                        what: "start the storage writer",
                        why: error.to_string().into(),
                    })?;
                Ok(Driver::Thread(Mutex::new(Some(thread))))
            },
        )
    }

    /// Starts a store on a simulated disk, with the writer on the current runtime if there is one.
    pub(crate) fn simulated(engine: Memory, options: MemoryOptions) -> Result<Inner, Error> {
        let metrics = Metrics::default();
        let round = recovery::last_round(&engine)?;
        // A simulated disk has nothing left or plenty, and no clock may be asked.
        let space = Space::new(2, Duration::ZERO, metrics.clone());
        Inner::start(Arc::new(engine), metrics, space, None, |mut writer, queue| {
            writer.go_on(round);
            let writer = Arc::new(Mutex::new(writer));
            let Ok(runtime) = Handle::try_current() else {
                return Ok(Driver::Caller(writer));
            };
            runtime.spawn(writer::run_task(writer.clone(), queue, 4 << 20, options));
            Ok(Driver::Task(writer))
        })
    }

    fn start(
        engine: Arc<dyn Engine>,
        metrics: Metrics,
        space: Space,
        queue_bytes: Option<usize>,
        drive: impl FnOnce(Writer, Arc<Queue>) -> Result<Driver, Error>,
    ) -> Result<Inner, Error> {
        let space = Arc::new(space);
        let health = Arc::new(Health::new(metrics.clone()));
        let queue = Arc::new(Queue::new(queue_bytes, metrics.clone()));
        let shards = Mutex::new(recovery::shards(&*engine)?);
        let writer = Writer::new(engine.clone(), health.clone(), space.clone(), metrics.clone());
        let driver = drive(writer, queue.clone())?;
        Ok(Inner {
            engine: RwLock::new(Some(engine)),
            health,
            space,
            metrics,
            queue,
            shards,
            driver,
        })
    }

    /// Returns the engine, or why nothing may be asked of it.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>, Error> {
        self.health.check()?;
        self.engine.read().clone().ok_or(Error::Closed)
    }

    /// Queues an operation for the writer.
    pub(crate) fn submit(&self, work: Work) {
        if let Err(error) = self.health.check() {
            if let Some(done) = work.done {
                done(Err(error));
            }
            return;
        }
        self.queue.push(work);
        if let Driver::Caller(writer) = &self.driver {
            self.complete(writer);
        }
    }

    /// Writes a batch through the writer and waits until it and every write before it are durable. Blocks for an
    /// fsync; never call it from a callback, which runs on the thread that would have to do the work.
    pub(crate) fn synced(&self, batch: Batch, kind: Kind) -> Result<(), Error> {
        self.health.check()?;
        let (tell, told) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| {
            // The receiver waits below; it is gone only when its thread is.
            let _ = tell.send(result);
        });
        self.queue.push(Work {
            batch,
            kind,
            sync: true,
            done: Some(done),
        });
        if let Driver::Task(writer) | Driver::Caller(writer) = &self.driver {
            self.complete(writer);
        }
        told.recv()
            .unwrap_or_else(|_| Err(self.health.poisoned().cloned().unwrap_or(Error::Closed)))
    }

    /// Returns what is remembered of a shard.
    pub(crate) fn shard(&self, id: ShardId) -> Arc<Shard> {
        self.shards
            .lock()
            .entry(id)
            .or_insert_with(|| Arc::new(Shard::new(id, 0)))
            .clone()
    }

    /// Stops the writer after what is queued, and lets go of the engine.
    pub(crate) fn close(&self) {
        if !self.health.close() {
            return;
        }
        self.queue.close();
        match &self.driver {
            Driver::Thread(thread) => {
                let thread = thread.lock().take();
                // The last handle may be dropped by a callback, on the writer's own thread.
                if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
                    && thread.join().is_err()
                {
                    warn!("storage writer had panicked");
                }
            }
            Driver::Task(writer) | Driver::Caller(writer) => {
                self.complete(writer);
                writer.lock().retire();
            }
        }
        *self.engine.write() = None;
    }

    /// Carries out everything queued on the calling thread, the round at the disk first; simulation only.
    fn complete(&self, writer: &SharedWriter) {
        let mut work = Vec::new();
        loop {
            let mut writer = writer.lock();
            let mut answers = writer.finish();
            self.queue.take(usize::MAX, &mut work);
            let idle = work.is_empty();
            if !idle {
                writer.begin(&mut work);
                answers.extend(writer.finish());
            }
            drop(writer);
            writer::answer(answers);
            if idle {
                return;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("health", &self.health.check())
            .finish_non_exhaustive()
    }
}

// === impl Shard ===

impl Shard {
    pub(crate) fn new(id: ShardId, generation: u32) -> Shard {
        let (generation, purged) = (AtomicU32::new(generation), AtomicU64::new(0));
        Shard {
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
