//! Events of the subscription manager for one worker. A worker with a full queue loses events but no responses. It is
//! notified of the overflow once its queue has room, and reads what it missed.

use super::hub_event::HubEvent;
use crate::registration::{WorkerBatch, WorkerQueues};

/// Queues to the hubs of all workers of this node.
pub(super) type HubWorkers = WorkerQueues<HubBatch>;

/// Events for one worker that are not in its queue yet.
#[derive(Debug, Default)]
pub(super) struct HubBatch {
    events: Vec<HubEvent>,
}

// === impl WorkerBatch for HubBatch ===

impl WorkerBatch for HubBatch {
    type Event = HubEvent;

    fn push(&mut self, event: HubEvent, is_full: bool) -> u64 {
        let is_delivery = event.droppable();
        // The overflow covers it; buffering it would let the batch grow without a bound.
        if is_delivery && is_full {
            return 0;
        }
        self.events.push(event);
        u64::from(is_delivery)
    }

    fn on_full(&mut self) {
        // Responses are kept: their requesters would otherwise never be answered.
        self.events.retain(|event| !event.droppable());
    }

    fn drain(&mut self, was_full: bool) -> Vec<HubEvent> {
        if was_full {
            // Behind the responses that were kept: their conversations are covered as well.
            self.events.push(HubEvent::Overflow);
        }
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use protocol::ConversationId;
    use tokio::sync::mpsc;

    use super::*;
    use crate::state_machine::EventEnvelope;

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
        assert!(workers.is_waiting());
        workers.send(1, event(3));
        assert_eq!(visible(events.try_recv().unwrap()), ["1"]);
        workers.flush();
        assert_eq!(visible(events.try_recv().unwrap()), ["live", "overflow"]);
        workers.send(1, event(4));
        workers.flush();
        assert_eq!(visible(events.try_recv().unwrap()), ["4"]);
        assert!(!workers.is_waiting());
        drop(events);
        workers.send(1, event(5));
        assert_eq!(workers.flush(), [1]);
    }
}
