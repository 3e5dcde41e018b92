//! The workers of this node, as the relay sees them: what gathers for each, and what happens when one is behind.
//!
//! A worker that takes nothing loses events, never answers: it is told of the overflow when there is room again, and
//! reads what it missed. The other workers notice nothing.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::notice::{Notice, WorkerId};

/// Every worker of this node.
#[derive(Debug, Default)]
pub(super) struct Workers {
    workers: HashMap<WorkerId, Worker>,
    /// Workers with something to send.
    dirty: Vec<WorkerId>,
    /// Events handed out.
    pub(super) events: u64,
    /// Times a worker fell behind.
    pub(super) overflows: u64,
}

#[derive(Debug)]
struct Worker {
    notices: mpsc::Sender<Vec<Notice>>,
    batch: Vec<Notice>,
    /// Its queue was full: events are dropped until it takes something.
    behind: bool,
    dirty: bool,
}

// === impl Workers ===

impl Workers {
    pub(super) fn add(&mut self, id: WorkerId, notices: mpsc::Sender<Vec<Notice>>) {
        self.workers.insert(
            id,
            Worker {
                notices,
                batch: Vec::new(),
                behind: false,
                dirty: false,
            },
        );
    }

    /// Appends a notice for a worker.
    pub(super) fn tell(&mut self, id: WorkerId, notice: Notice) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if notice.droppable() {
            if worker.behind {
                return;
            }
            self.events += 1;
        }
        worker.batch.push(notice);
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
            worker.dirty = false;
            if worker.behind && worker.notices.capacity() > 0 {
                // Behind the answers that were kept, so that it covers them.
                worker.batch.push(Notice::Overflow);
            }
            match worker.notices.try_send(std::mem::take(&mut worker.batch)) {
                Ok(()) => worker.behind = false,
                Err(TrySendError::Full(mut batch)) => {
                    batch.retain(|notice| !notice.droppable() && !matches!(notice, Notice::Overflow));
                    worker.batch = batch;
                    if !worker.behind {
                        worker.behind = true;
                        self.overflows += 1;
                    }
                    worker.dirty = true;
                    still.push(id);
                }
                Err(TrySendError::Closed(_)) => gone.push(id),
            }
        }
        self.dirty = still;
        for id in &gone {
            self.workers.remove(id);
        }
        gone
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Whether a worker waits for room.
    #[cfg(test)]
    fn behind(&self) -> bool {
        !self.dirty.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use protocol::ConvId;

    use super::*;
    use crate::conversation::timeline::Published;

    fn event(seq: u64) -> Notice {
        let conv = ConvId::parse("g").unwrap();
        Notice::Event(Arc::new(Published {
            conv,
            seq,
            tail: Bytes::new(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        }))
    }

    fn shown(batch: Vec<Notice>) -> Vec<String> {
        let show = |notice| match notice {
            Notice::Event(event) => event.seq.to_string(),
            Notice::Live { .. } => "live".to_owned(),
            Notice::Overflow => "overflow".to_owned(),
            other => format!("{other:?}"),
        };
        batch.into_iter().map(show).collect()
    }

    #[test]
    fn a_worker_that_is_behind_loses_events_and_no_answers() {
        let mut workers = Workers::default();
        let (sender, mut notices) = mpsc::channel(1);
        workers.add(1, sender);
        workers.tell(1, event(1));
        workers.flush();
        workers.tell(1, event(2));
        workers.tell(
            1,
            Notice::Live {
                conv: ConvId::parse("g").unwrap(),
                as_of: 2,
            },
        );
        workers.flush();
        assert!(workers.behind());
        workers.tell(1, event(3));
        assert_eq!(shown(notices.try_recv().unwrap()), ["1"]);
        workers.flush();
        assert_eq!(shown(notices.try_recv().unwrap()), ["live", "overflow"]);
        workers.tell(1, event(4));
        workers.flush();
        assert_eq!(shown(notices.try_recv().unwrap()), ["4"]);
        assert!(!workers.behind());
        drop(notices);
        workers.tell(1, event(5));
        assert_eq!(workers.flush(), [1]);
    }
}
