//! The workers of this node, as the attendance sees them: what gathers for each.
//!
//! A worker that takes nothing keeps nobody else waiting, and nothing is lost for it: verdicts wait, of which there is one
//! per session, and of how a user stands the newest waits.

use std::collections::HashMap;

use protocol::UserId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Notice, Shown, WorkerId};

/// Every worker of this node.
#[derive(Debug, Default)]
pub(super) struct Workers {
    workers: HashMap<WorkerId, Worker>,
    /// Workers with something to send.
    dirty: Vec<WorkerId>,
    /// Times a worker fell behind.
    pub(super) behind: u64,
}

#[derive(Debug)]
struct Worker {
    notices: mpsc::Sender<Vec<Notice>>,
    batch: Vec<Notice>,
    stands: HashMap<(UserId, UserId), Shown>,
    dirty: bool,
    behind: bool,
}

// === impl Workers ===

impl Workers {
    pub(super) fn add(&mut self, id: WorkerId, notices: mpsc::Sender<Vec<Notice>>) {
        let worker = Worker {
            notices,
            batch: Vec::new(),
            stands: HashMap::new(),
            dirty: false,
            behind: false,
        };
        self.workers.insert(id, worker);
    }

    /// Appends a notice for a worker.
    pub(super) fn tell(&mut self, id: WorkerId, notice: Notice) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match notice {
            Notice::Stands { user, viewer, shown } => {
                worker.stands.insert((user, viewer), shown);
            }
            notice => worker.batch.push(notice),
        }
        if !worker.dirty {
            worker.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends what gathered. Returns the workers that are gone.
    pub(super) fn flush(&mut self) -> Vec<WorkerId> {
        let mut gone = Vec::new();
        let mut still = Vec::new();
        for id in self.dirty.drain(..) {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            let place = match worker.notices.try_reserve() {
                Ok(place) => place,
                Err(TrySendError::Full(())) => {
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
            batch.extend(stands.map(|((user, viewer), shown)| Notice::Stands { user, viewer, shown }));
            place.send(batch);
        }
        self.dirty = still;
        for id in &gone {
            self.workers.remove(id);
        }
        gone
    }

    /// Whether a worker waits for room.
    pub(super) fn waiting(&self) -> bool {
        !self.dirty.is_empty()
    }
}
