//! Write queue in front of the writer: one for all shards, first in, first out, bounded in bytes.
//!
//! Raft requires one order for all operations of a shard: a vote must not overtake the entries before it. A caller
//! blocks while the queue is full (back-pressure). The operations in flight of one shard are bounded by `cluster`, so a
//! full queue means that the disk is too slow. In simulation the queue is unbounded, because a blocked caller would
//! block the writer's thread too.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::engine::WriteBatch;
use crate::{Error, Metrics, ShardId};

/// Callback with the result of a queued operation. Runs once, in the order of the calls, on the writer's thread. It
/// must not block, nor call anything that blocks on the writer (`sync`, `put_node`, `close`).
pub type Completion = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One operation for the storage writer.
pub(crate) struct WriteOp {
    pub(crate) batch: WriteBatch,
    pub(crate) kind: WriteKind,
    /// True if `done` may run only after an fsync.
    pub(crate) sync: bool,
    pub(crate) done: Option<Completion>,
}

/// Properties of an operation by which the writer admits or refuses it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WriteKind {
    /// Appends entries to a log. Refused when the disk is full, and while earlier entries are missing.
    Append {
        shard: ShardId,
        first: u64,
        entries: u64,
    },
    /// Removes the entries of a log from an index on.
    Truncate { shard: ShardId, from: u64 },
    /// Removes the entries of a log up to and including an index.
    Purge { shard: ShardId, to: u64 },
    /// Any other operation; never refused, because it is small or frees space.
    Other,
}

pub(crate) struct WriteQueue {
    waiting: Mutex<WriteQueueState>,
    /// Signals the writer's thread that the queue holds work or is closed.
    filled: Condvar,
    /// Signals the writer's task in simulation.
    pub(crate) notify: Notify,
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

// === impl WriteQueue ===

impl WriteQueue {
    /// Returns an empty queue. `None` as limit makes it unbounded.
    pub(crate) fn new(limit: Option<usize>, metrics: Metrics) -> WriteQueue {
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
    pub(crate) fn push(&self, work: WriteOp) {
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
    pub(crate) fn take(&self, max_bytes: usize, round: &mut Vec<WriteOp>) -> bool {
        let mut waiting = self.waiting.lock();
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// Same as [`Self::take`], but blocks the thread until the queue holds an operation or is closed.
    pub(crate) fn wait(&self, max_bytes: usize, round: &mut Vec<WriteOp>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.work.is_empty() && !waiting.closed {
            self.filled.wait(&mut waiting);
        }
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// Refuses further operations. Operations already queued are still written.
    pub(crate) fn close(&self) {
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

// === impl WriteOp ===

impl WriteOp {
    /// Returns the bytes that the operation counts in the queue. The fixed part bounds the number of empty operations
    /// too.
    fn bytes(&self) -> usize {
        64 + self.batch.bytes
    }
}
