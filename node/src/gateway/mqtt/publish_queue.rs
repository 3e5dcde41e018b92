//! Queue of the client's unacknowledged messages: they are acknowledged in the order in which they came. Pure.
//!
//! Commands about different conversations end in any order, so an outcome waits for those before it.
//!
//! Queue: bounded by the receive maximum of MQTT 5; in 3.1.1 by the session, which dispatches no further command while too
//! many are unanswered. It has no metric.

use std::collections::VecDeque;

use super::packet::{PublishReplyKind, ReasonCode};

/// Messages of one connection.
#[derive(Debug, Default)]
pub(super) struct PublishQueue {
    messages: VecDeque<QueuedPublish>,
}

/// Message with its outcome.
#[derive(Debug)]
struct QueuedPublish {
    packet_id: u16,
    kind: PublishReplyKind,
    /// The gateway's number of the request.
    number: i64,
    /// `None`: the command has not ended.
    outcome: Option<PublishOutcome>,
}

/// Outcome of a command, for the acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishOutcome {
    pub(super) reason: ReasonCode,
    /// User properties for clients of MQTT 5.
    pub(super) properties: Vec<(&'static str, String)>,
}

// === impl PublishQueue ===

impl PublishQueue {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Adds a message, which is acknowledged behind those before it.
    pub(super) fn add(&mut self, packet_id: u16, kind: PublishReplyKind, number: i64) {
        self.messages.push_back(QueuedPublish {
            packet_id,
            kind,
            number,
            outcome: None,
        });
    }

    /// Sets the outcome of a message.
    pub(super) fn complete(&mut self, number: i64, outcome: PublishOutcome) {
        let message = self.messages.iter_mut().find(|message| message.number == number);
        if let Some(message) = message {
            message.outcome = Some(outcome);
        }
    }

    /// Removes the next message that can be acknowledged.
    pub(super) fn next(&mut self) -> Option<(u16, PublishReplyKind, PublishOutcome)> {
        self.messages.front()?.outcome.as_ref()?;
        let message = self.messages.pop_front()?;
        Some((message.packet_id, message.kind, message.outcome?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reason: ReasonCode) -> PublishOutcome {
        PublishOutcome {
            reason,
            properties: Vec::new(),
        }
    }

    #[test]
    fn outcomes_wait_for_those_before_them() {
        let mut queue = PublishQueue::default();
        let (ack, rec) = (PublishReplyKind::PubAck, PublishReplyKind::PubRec);
        queue.add(7, ack, 1);
        queue.add(3, rec, 2);
        // The id may come again before it is acknowledged; the numbers tell the messages apart.
        queue.add(7, ack, 3);
        queue.complete(3, outcome(ReasonCode::NotAuthorized));
        queue.complete(2, outcome(ReasonCode::Success));
        queue.complete(9, outcome(ReasonCode::Success));
        assert_eq!(queue.next(), None);
        queue.complete(1, outcome(ReasonCode::Success));
        assert_eq!(queue.next(), Some((7, ack, outcome(ReasonCode::Success))));
        assert_eq!(queue.next(), Some((3, rec, outcome(ReasonCode::Success))));
        assert_eq!(queue.next(), Some((7, ack, outcome(ReasonCode::NotAuthorized))));
        assert_eq!((queue.next(), queue.len()), (None, 0));
    }
}
