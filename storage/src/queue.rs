//! The queue in front of the writer: one for all shards, first in, first out, bounded in bytes.
//!
//! One order for everything is what Raft asks for: a vote must not overtake the entries before it. A caller
//! that finds the queue full waits (back-pressure); what one shard may have in flight is bounded above, so a
//! full queue means a disk that does not keep up. In simulation nobody waits, since that thread is the writer's.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::engine::Batch;
use crate::{Done, Error, Metrics, ShardId};

/// One operation for the writer.
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) kind: Kind,
    /// Done only after an fsync.
    pub(crate) sync: bool,
    pub(crate) done: Option<Done>,
}

/// What the writer has to know of an operation besides its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Adds entries to a log: refused when the disk is full, and as long as the entries before are missing.
    Append {
        shard: ShardId,
        first: u64,
        entries: u64,
    },
    /// Cuts a log at an index.
    Truncate { shard: ShardId, from: u64 },
    /// Forgets a log up to and including an index.
    Purge { shard: ShardId, to: u64 },
    /// Anything else: small, or makes room.
    Other,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the writer's thread.
    filled: Condvar,
    /// Wakes the writer's task, in simulation.
    pub(crate) notify: Notify,
    /// Wakes callers that wait for room.
    room: Condvar,
    limit: Option<usize>,
    metrics: Metrics,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    bytes: usize,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    /// Returns an empty queue; without a limit nobody waits.
    pub(crate) fn new(limit: Option<usize>, metrics: Metrics) -> Queue {
        Queue {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            notify: Notify::new(),
            room: Condvar::new(),
            limit,
            metrics,
        }
    }

    /// Adds an operation, waiting for room at need. A closed queue answers it with `Error::Closed`.
    pub(crate) fn push(&self, work: Work) {
        let mut waiting = self.waiting.lock();
        // An operation larger than the limit passes when it is alone.
        while self
            .limit
            .is_some_and(|limit| waiting.bytes > 0 && waiting.bytes + work.bytes() > limit)
            && !waiting.closed
        {
            self.room.wait(&mut waiting);
        }
        if waiting.closed {
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
        self.filled.notify_one();
        self.notify.notify_one();
    }

    /// Moves the next round into `round`: at least one operation when there is any, about `max_bytes` at most.
    /// Returns false when the queue is closed and empty.
    pub(crate) fn take(&self, max_bytes: usize, round: &mut Vec<Work>) -> bool {
        let mut waiting = self.waiting.lock();
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// As [`Queue::take`], waiting on the thread for the first operation.
    pub(crate) fn wait(&self, max_bytes: usize, round: &mut Vec<Work>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.work.is_empty() && !waiting.closed {
            self.filled.wait(&mut waiting);
        }
        self.drain(&mut waiting, max_bytes, round);
        !(round.is_empty() && waiting.closed)
    }

    /// Refuses further operations; those inside are still carried out.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_all();
        self.room.notify_all();
        self.notify.notify_one();
    }

    fn drain(&self, waiting: &mut Waiting, max_bytes: usize, round: &mut Vec<Work>) {
        let mut bytes = 0;
        while let Some(next) = waiting.work.front() {
            if bytes > 0 && bytes + next.bytes() > max_bytes {
                break;
            }
            bytes += next.bytes();
            round.extend(waiting.work.pop_front());
        }
        waiting.bytes -= bytes;
        self.measure(waiting);
        self.room.notify_all();
    }

    fn measure(&self, waiting: &Waiting) {
        self.metrics.queue_length.set(waiting.work.len() as i64);
        self.metrics.queue_bytes.set(waiting.bytes as i64);
    }
}

// === impl Work ===

impl Work {
    /// Returns what the operation weighs in the queue; nothing is free, so that the bound also bounds their number.
    fn bytes(&self) -> usize {
        64 + self.batch.bytes
    }
}
