//! Event queues of this node's workers, as filled by the presence reporter.
//!
//! A slow worker delays no other and loses nothing. Its queue stays bounded: one verdict per session, and only the
//! newest presence per user and viewer.

use std::collections::HashMap;

use protocol::UserId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{ReporterEvent, VisiblePresence, WorkerId};

/// Event queues of every worker of this node.
#[derive(Debug, Default)]
pub(super) struct PresenceWorkers {
    workers: HashMap<WorkerId, PresenceWorker>,
    dirty: Vec<WorkerId>,
    /// Number of times that a worker fell behind.
    pub(super) behind: u64,
}

#[derive(Debug)]
struct PresenceWorker {
    events: mpsc::Sender<Vec<ReporterEvent>>,
    batch: Vec<ReporterEvent>,
    stands: HashMap<(UserId, UserId), VisiblePresence>,
    dirty: bool,
    behind: bool,
}

// === impl PresenceWorkers ===

impl PresenceWorkers {
    pub(super) fn add(&mut self, id: WorkerId, events: mpsc::Sender<Vec<ReporterEvent>>) {
        let worker = PresenceWorker {
            events,
            batch: Vec::new(),
            stands: HashMap::new(),
            dirty: false,
            behind: false,
        };
        self.workers.insert(id, worker);
    }

    /// Queues an event for a worker. An unknown worker is ignored.
    pub(super) fn send(&mut self, id: WorkerId, event: ReporterEvent) {
        // The worker may have ended while a response for its session was in flight.
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match event {
            // An older state still queued is replaced: only the newest one matters.
            ReporterEvent::Stands {
                user,
                viewer,
                visible,
            } => {
                worker.stands.insert((user, viewer), visible);
            }
            event => worker.batch.push(event),
        }
        if !worker.dirty {
            worker.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends the gathered events. Returns the workers that have ended.
    pub(super) fn flush(&mut self) -> Vec<WorkerId> {
        let mut gone = Vec::new();
        let mut still = Vec::new();
        for id in self.dirty.drain(..) {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            // Space is reserved first: a batch that was taken out could be lost on a full queue.
            let permit = match worker.events.try_reserve() {
                Ok(permit) => permit,
                Err(TrySendError::Full(())) => {
                    // Counted once per period, not once per retry.
                    self.behind += u64::from(!std::mem::replace(&mut worker.behind, true));
                    still.push(id);
                    continue;
                }
                Err(TrySendError::Closed(())) => {
                    gone.push(id);
                    continue;
                }
            };
            (worker.dirty, worker.behind) = (false, false);
            let mut batch = std::mem::take(&mut worker.batch);
            let stands = worker.stands.drain();
            batch.extend(stands.map(|((user, viewer), visible)| ReporterEvent::Stands {
                user,
                viewer,
                visible,
            }));
            permit.send(batch);
        }
        self.dirty = still;
        for id in &gone {
            self.workers.remove(id);
        }
        gone
    }

    /// Returns true if a worker's queue is full and events wait for it.
    pub(super) fn waiting(&self) -> bool {
        !self.dirty.is_empty()
    }
}
