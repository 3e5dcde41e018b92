//! Write queue in front of the storage writer, with the thread that drains it: one for all shards, first in, first out,
//! bounded in bytes.
//!
//! Path of a message: step 7 of 13.
//!
//! Raft requires one order for all operations of a shard: a vote must not overtake the entries before it. A caller
//! blocks while the queue is full (back-pressure). The operations in flight of one shard are bounded by `cluster`, so a
//! full queue means that the disk is too slow. In simulation the queue is unbounded, because a blocked caller would
//! block the writer's thread too.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::warn;

use crate::engine::WriteBatch;
use crate::store_health::StoreHealth;
use crate::write_op::{WriteKind, WriteOp};
use crate::writer::{CompletionResult, StorageWriter};
use crate::{Completion, Error, MemoryOptions, Metrics};

/// Submission of operations to the writer of a store.
pub(crate) struct WriterHandle {
    queue: Arc<WriteQueue>,
    health: Arc<StoreHealth>,
    driver: WriterDriver,
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

/// Writer of a simulation, shared by its task and by calls that must complete immediately.
type SharedWriter = Arc<Mutex<StorageWriter>>;

/// Operations that the writer has not taken yet.
struct WriteQueue {
    waiting: Mutex<WriteQueueState>,
    /// Signals the writer's thread that the queue holds work or is closed.
    filled: Condvar,
    /// Signals the writer's task in simulation.
    notify: Notify,
    /// Signals blocked callers that the queue has space.
    room: Condvar,
    limit: Option<usize>,
    metrics: Metrics,
}

#[derive(Default)]
struct WriteQueueState {
    work: VecDeque<WriteOp>,
    bytes: usize,
    closed: bool,
}

// === the loops ===

/// Writes commit groups on the calling thread until the queue is closed and empty.
fn run(mut writer: StorageWriter, queue: &WriteQueue, round_bytes: usize) {
    let _guard = PanicGuard {
        health: writer.health.clone(),
        queue,
    };
    let mut work = Vec::new();
    while queue.wait(round_bytes, &mut work) {
        writer.begin(&mut work);
        answer(writer.finish());
    }
    writer.final_sync();
}

/// Same as [`run`] for a task in simulation: an fsync takes `sync_delay` of the runtime's time.
async fn run_task(writer: SharedWriter, queue: Arc<WriteQueue>, round_bytes: usize, options: MemoryOptions) {
    let mut work = Vec::new();
    loop {
        let (sync, early) = {
            // Taken under the lock: a call that completes in place must find an operation in the queue or in flight.
            // In between it would wait for the runtime's time, which does not advance while the call blocks its only
            // thread.
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
        // A call in place may have finished the group during the sleep; `finish` then returns no callbacks.
        let answers = writer.lock().finish();
        answer(answers);
    }
}

/// Runs the callbacks in order. Must be called without the writer's lock, because a callback may submit again.
fn answer(answers: Vec<CompletionResult>) {
    for (done, result) in answers {
        done(result);
    }
}

/// Guard that poisons the store when the writer panics, and fails the queued operations so that no caller blocks
/// forever.
struct PanicGuard<'q> {
    health: Arc<StoreHealth>,
    queue: &'q WriteQueue,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Poisoned before the queue is closed, so that a new call gets the poison and not `Closed`.
            let poison = self.health.fail(Error::Io {
                what: "storage writer",
                why: "panicked".into(),
            });
            // The callbacks of the group in flight are dropped by the unwinding; their waiters read the poison from
            // `store_health`.
            self.queue.close();
            let mut left = Vec::new();
            self.queue.take(usize::MAX, &mut left);
            for done in left.into_iter().filter_map(|work| work.done) {
                done(Err(poison.clone()));
            }
        }
    }
}

// === impl WriterHandle ===

impl WriterHandle {
    /// Starts a thread that drains a queue of at most `queue_bytes` in groups of about `round_bytes`.
    pub(crate) fn thread(
        writer: StorageWriter,
        health: Arc<StoreHealth>,
        metrics: Metrics,
        (queue_bytes, round_bytes): (usize, usize),
    ) -> Result<WriterHandle, Error> {
        let queue = Arc::new(WriteQueue::new(Some(queue_bytes), metrics));
        let drained = queue.clone();
        let thread = thread::Builder::new()
            .name("storage-writer".to_owned())
            .spawn(move || run(writer, &drained, round_bytes))
            .map_err(|error| Error::Io {
                what: "start the storage writer",
                why: error.to_string().into(),
            })?;
        let driver = WriterDriver::Thread(Mutex::new(Some(thread)));
        Ok(WriterHandle {
            queue,
            health,
            driver,
        })
    }

    /// Drains the queue on the current runtime if there is one, and otherwise on the calling thread. Simulation only.
    pub(crate) fn simulated(
        writer: StorageWriter,
        health: Arc<StoreHealth>,
        metrics: Metrics,
        options: MemoryOptions,
    ) -> WriterHandle {
        // No bound: a caller that blocked would block the only thread, on which the writer runs too.
        let queue = Arc::new(WriteQueue::new(None, metrics));
        let writer = Arc::new(Mutex::new(writer));
        let driver = match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(run_task(writer.clone(), queue.clone(), 4 << 20, options));
                WriterDriver::Task(writer)
            }
            Err(_) => WriterDriver::Caller(writer),
        };
        WriterHandle {
            queue,
            health,
            driver,
        }
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

    /// Stops the writer after the queued operations, and makes every write durable.
    pub(crate) fn close(&self) {
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
            answer(answers);
            if idle {
                return;
            }
        }
    }
}

// === impl WriteQueue ===

impl WriteQueue {
    /// Returns an empty queue. `None` as limit makes it unbounded.
    fn new(limit: Option<usize>, metrics: Metrics) -> WriteQueue {
        WriteQueue {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            notify: Notify::new(),
            room: Condvar::new(),
            limit,
            metrics,
        }
    }

    /// Adds an operation; blocks while the queue is full. A closed queue completes the operation with `Error::Closed`.
    fn push(&self, work: WriteOp) {
        let mut waiting = self.waiting.lock();
        // An operation larger than the limit passes an empty queue: it would block forever otherwise.
        while self
            .limit
            .is_some_and(|limit| waiting.bytes > 0 && waiting.bytes + work.bytes() > limit)
            && !waiting.closed
        {
            self.room.wait(&mut waiting);
        }
        if waiting.closed {
            // Unlocked before the callback, which may call back into the store.
            drop(waiting);
            if let Some(done) = work.done {
                done(Err(Error::Closed));
            }
            return;
        }
        waiting.bytes += work.bytes();
        waiting.work.push_back(work);
        self.measure(&waiting);
        drop(waiting);
        // Both are signalled: the queue does not know its driver, and a signal without a waiter is free.
        self.filled.notify_one();
        self.notify.notify_one();
    }

    /// Moves the next group into `round`: at least one operation if the queue holds any, and about `max_bytes` at most.
    /// Returns false when the queue is closed and empty.
    fn take(&self, max_bytes: usize, round: &mut Vec<WriteOp>) -> bool {
        let mut waiting = self.waiting.lock();
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// Same as [`Self::take`], but blocks the thread until the queue holds an operation or is closed.
    fn wait(&self, max_bytes: usize, round: &mut Vec<WriteOp>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.work.is_empty() && !waiting.closed {
            self.filled.wait(&mut waiting);
        }
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// Refuses further operations. Operations already queued are still written.
    fn close(&self) {
        self.waiting.lock().closed = true;
        // Every kind of waiter is signalled: a blocked caller must fail, and the writer must drain and end.
        self.filled.notify_all();
        self.room.notify_all();
        self.notify.notify_one();
    }

    fn drain(&self, waiting: &mut WriteQueueState, max_bytes: usize, round: &mut Vec<WriteOp>) {
        let mut bytes = 0;
        while let Some(next) = waiting.work.front() {
            // Whole operations only, and always one: an operation above the bound would otherwise stop the writer.
            if bytes > 0 && bytes + next.bytes() > max_bytes {
                break;
            }
            bytes += next.bytes();
            round.extend(waiting.work.pop_front());
        }
        waiting.bytes -= bytes;
        self.measure(waiting);
        // All, not one: the freed bytes may admit several small operations, and one waiter may still not fit.
        self.room.notify_all();
    }

    fn measure(&self, waiting: &WriteQueueState) {
        self.metrics.queue_length.set(waiting.work.len() as i64);
        self.metrics.queue_bytes.set(waiting.bytes as i64);
    }
}
