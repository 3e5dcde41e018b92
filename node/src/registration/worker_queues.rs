//! Queues to the worker threads of this node: a batch for each, and the handling of full queues.
//!
//! Path of a message: step 12 of 13.
//!
//! A slow worker delays no other. Its batch stays bounded: while the queue is full, the [`WorkerBatch`] drops or
//! replaces what can be read again.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Random id of a worker thread.
pub(crate) type WorkerId = u64;

/// Events for one worker that are not in its queue yet.
pub(crate) trait WorkerBatch: Default {
    type Event: std::fmt::Debug;

    /// Adds an event. While the queue is full, one that can be read again may be dropped. Returns the number of
    /// deliveries that were added.
    fn push(&mut self, event: Self::Event, is_full: bool) -> u64;

    /// Removes what need not wait for room in the queue.
    fn on_full(&mut self) {}

    /// Drains the events. `was_full` is true for the first batch after a full queue.
    fn drain(&mut self, was_full: bool) -> Vec<Self::Event>;
}

/// Queues to all workers of this node.
#[derive(Debug)]
pub(crate) struct WorkerQueues<B: WorkerBatch> {
    workers: HashMap<WorkerId, WorkerQueue<B>>,
    /// Workers with a batch to send.
    dirty: Vec<WorkerId>,
    /// Number of deliveries passed to workers.
    pub(crate) deliveries: u64,
    /// Number of times that a worker's queue was full.
    pub(crate) overflows: u64,
}

#[derive(Debug)]
struct WorkerQueue<B: WorkerBatch> {
    events: mpsc::Sender<Vec<B::Event>>,
    batch: B,
    is_full: bool,
    is_dirty: bool,
}

// === impl WorkerQueues ===

impl<B: WorkerBatch> Default for WorkerQueues<B> {
    fn default() -> WorkerQueues<B> {
        WorkerQueues {
            workers: HashMap::new(),
            dirty: Vec::new(),
            deliveries: 0,
            overflows: 0,
        }
    }
}

impl<B: WorkerBatch> WorkerQueues<B> {
    pub(crate) fn add(&mut self, id: WorkerId, events: mpsc::Sender<Vec<B::Event>>) {
        let worker = WorkerQueue {
            events,
            batch: B::default(),
            is_full: false,
            is_dirty: false,
        };
        self.workers.insert(id, worker);
    }

    /// Appends an event to the batch of a worker. An unknown worker is ignored.
    pub(crate) fn send(&mut self, id: WorkerId, event: B::Event) {
        // The worker may have ended while a response for its session was in flight.
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        self.deliveries += worker.batch.push(event, worker.is_full);
        if !worker.is_dirty {
            worker.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends the batches. Returns the workers that have ended.
    pub(crate) fn flush(&mut self) -> Vec<WorkerId> {
        let mut ended = Vec::new();
        let mut still = Vec::new();
        for id in self.dirty.drain(..) {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            // Room is reserved first: a batch that was drained could be lost on a full queue.
            match worker.events.try_reserve() {
                Ok(room) => {
                    room.send(worker.batch.drain(worker.is_full));
                    (worker.is_dirty, worker.is_full) = (false, false);
                }
                Err(TrySendError::Full(())) => {
                    worker.batch.on_full();
                    // Counted once per period, not once per retry.
                    self.overflows += u64::from(!std::mem::replace(&mut worker.is_full, true));
                    still.push(id);
                }
                Err(TrySendError::Closed(())) => ended.push(id),
            }
        }
        self.dirty = still;
        for id in &ended {
            self.workers.remove(id);
        }
        ended
    }

    /// Returns true if there are workers.
    pub(crate) fn any(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Returns true if a worker's queue is full and events wait for room in it.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.dirty.is_empty()
    }
}
