//! Queues to the workers of this node: a batch for each, and the handling of full queues.
//!
//! A worker with a full queue loses events but no responses. It is notified of the overflow once its queue has room,
//! and reads what it missed. The other workers are not affected.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::hub_event::{HubEvent, WorkerId};

/// Queues to all workers of this node.
#[derive(Debug, Default)]
pub(super) struct HubWorkers {
    workers: HashMap<WorkerId, HubWorker>,
    /// Workers with a batch to send.
    dirty: Vec<WorkerId>,
    /// Number of events passed to workers.
    pub(super) events: u64,
    /// Number of times that a worker's queue was full.
    pub(super) overflows: u64,
}

#[derive(Debug)]
struct HubWorker {
    events: mpsc::Sender<Vec<HubEvent>>,
    batch: Vec<HubEvent>,
    /// True while the queue is full: events are dropped until it has room.
    behind: bool,
    dirty: bool,
}

// === impl HubWorkers ===

impl HubWorkers {
    pub(super) fn add(&mut self, id: WorkerId, events: mpsc::Sender<Vec<HubEvent>>) {
        self.workers.insert(
            id,
            HubWorker {
                events,
                batch: Vec::new(),
                behind: false,
                dirty: false,
            },
        );
    }

    /// Appends an event to the batch of a worker.
    pub(super) fn send(&mut self, id: WorkerId, event: HubEvent) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if event.droppable() {
            // The overflow covers it; buffering it would let the batch grow without a bound.
            if worker.behind {
                return;
            }
            self.events += 1;
        }
        worker.batch.push(event);
        if !worker.dirty {
            worker.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends the batches. Returns the workers that have ended.
    pub(super) fn flush(&mut self) -> Vec<WorkerId> {
        let mut gone = Vec::new();
        let mut still = Vec::new();
        for id in self.dirty.drain(..) {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            worker.dirty = false;
            if worker.behind && worker.events.capacity() > 0 {
                // Behind the responses that were kept: their conversations are covered as well.
                worker.batch.push(HubEvent::Overflow);
            }
            match worker.events.try_send(std::mem::take(&mut worker.batch)) {
                Ok(()) => worker.behind = false,
                Err(TrySendError::Full(mut batch)) => {
                    // Responses are kept: their requesters would otherwise never be answered.
                    batch.retain(|event| !event.droppable() && !matches!(event, HubEvent::Overflow));
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

    /// Returns true if there are workers.
    pub(super) fn any(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Returns true if a worker's queue is full.
    #[cfg(test)]
    fn behind(&self) -> bool {
        !self.dirty.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use protocol::ConversationId;

    use super::*;
    use crate::conversation::state_machine::EventEnvelope;

    fn event(seq: u64) -> HubEvent {
        let conv = ConversationId::parse("g").unwrap();
        HubEvent::Event(Arc::new(EventEnvelope {
            conv,
            seq,
            tail: Bytes::new(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        }))
    }

    fn visible(batch: Vec<HubEvent>) -> Vec<String> {
        let show = |event| match event {
            HubEvent::Event(event) => event.seq.to_string(),
            HubEvent::Live { .. } => "live".to_owned(),
            HubEvent::Overflow => "overflow".to_owned(),
            other => format!("{other:?}"),
        };
        batch.into_iter().map(show).collect()
    }

    #[test]
    fn a_worker_that_is_behind_loses_events_and_no_answers() {
        let mut workers = HubWorkers::default();
        let (sender, mut events) = mpsc::channel(1);
        workers.add(1, sender);
        workers.send(1, event(1));
        workers.flush();
        workers.send(1, event(2));
        workers.send(
            1,
            HubEvent::Live {
                conv: ConversationId::parse("g").unwrap(),
                as_of: 2,
            },
        );
        workers.flush();
        assert!(workers.behind());
        workers.send(1, event(3));
        assert_eq!(visible(events.try_recv().unwrap()), ["1"]);
        workers.flush();
        assert_eq!(visible(events.try_recv().unwrap()), ["live", "overflow"]);
        workers.send(1, event(4));
        workers.flush();
        assert_eq!(visible(events.try_recv().unwrap()), ["4"]);
        assert!(!workers.behind());
        drop(events);
        workers.send(1, event(5));
        assert_eq!(workers.flush(), [1]);
    }
}
