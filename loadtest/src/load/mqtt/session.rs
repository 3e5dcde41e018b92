//! Client half of an MQTT session: messages without a PUBACK, their packet identifiers, and the order of their resends.
//! Pure.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::oracle::ConvIx;
use crate::payload::Ordinal;

/// Number of packet identifiers, which are 1 to this value.
const IDS: u64 = 65_535;

/// One message, until its PUBACK.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct PendingPublish {
    /// Index of the topic among the client's topics.
    pub(super) topic: usize,
    pub(super) conv: ConvIx,
    pub(super) ordinal: Ordinal,
    pub(super) due: Nanos,
    acked: bool,
}

/// Messages of one client, oldest first. Packet identifiers are assigned in turn, so an identifier determines the
/// index.
#[derive(Debug, Default)]
pub(super) struct MqttSession {
    /// Number of messages that were removed before `pending[0]`.
    before: u64,
    pending: VecDeque<PendingPublish>,
    /// Number of entries of `pending` that were sent on this connection.
    sent: usize,
    /// Number of entries of `pending` that were sent on any connection.
    ever: usize,
    /// Number of entries of `pending` without a PUBACK.
    waiting: usize,
}

// === impl MqttSession ===

impl MqttSession {
    /// Queues a new message.
    pub(super) fn offer(&mut self, topic: usize, conv: ConvIx, ordinal: Ordinal, due: Nanos) {
        self.waiting += 1;
        self.pending.push_back(PendingPublish {
            topic,
            conv,
            ordinal,
            due,
            acked: false,
        });
    }

    /// Returns the next message to send on this connection, with its packet identifier and `true` for a resend (DUP).
    ///
    /// Returns `None` if none is queued or every packet identifier is in use.
    pub(super) fn next(&mut self) -> Option<(u16, bool, PendingPublish)> {
        loop {
            let at = self.sent;
            let pending = *self.pending.get(at).filter(|_| (at as u64) < IDS)?;
            self.sent += 1;
            // MQTT requires the DUP flag for a message that was sent on an earlier connection.
            let again = at < self.ever;
            self.ever = self.ever.max(self.sent);
            if !pending.acked {
                return Some((self.id(at), again, pending));
            }
        }
    }

    /// Records a PUBACK and returns its message; `None` if no sent message has this identifier.
    pub(super) fn acked(&mut self, id: u16) -> Option<PendingPublish> {
        let first = self.before % IDS;
        let at = (u64::from(id).checked_sub(1)? + IDS - first) % IDS;
        let sent = self.sent;
        let pending = self
            .pending
            .get_mut(at as usize)
            // Entries that were not sent on this connection cannot be acknowledged by it.
            .filter(|_| (at as usize) < sent)?;
        if std::mem::replace(&mut pending.acked, true) {
            return None;
        }
        let answered = *pending;
        self.waiting -= 1;
        // Only completed entries at the front are removed, or identifiers would no longer match their indexes.
        while self.pending.front().is_some_and(|pending| pending.acked) {
            self.pending.pop_front();
            self.before += 1;
            self.sent -= 1;
            self.ever -= 1;
        }
        Some(answered)
    }

    /// Records the end of the connection: unacknowledged messages are sent again. Returns their number.
    pub(super) fn disconnected(&mut self) -> usize {
        let again = self
            .pending
            .iter()
            .take(self.sent)
            .filter(|pending| !pending.acked)
            .count();
        self.sent = 0;
        again
    }

    /// Returns the number of messages without a PUBACK.
    pub(super) fn unanswered(&self) -> usize {
        self.waiting
    }

    fn id(&self, at: usize) -> u16 {
        ((self.before + at as u64) % IDS + 1) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(messages: Ordinal) -> MqttSession {
        let mut session = MqttSession::default();
        (1..=messages).for_each(|ordinal| session.offer(0, 0, ordinal, 0));
        session
    }

    fn sent(session: &mut MqttSession) -> Vec<(u16, bool, Ordinal)> {
        let next = std::iter::from_fn(|| session.next());
        next.map(|(id, again, pending)| (id, again, pending.ordinal))
            .collect()
    }

    #[test]
    fn lost_connection_repeats_unacked_publishes_with_their_ids() {
        let mut session = session(3);
        assert_eq!(sent(&mut session), [(1, false, 1), (2, false, 2), (3, false, 3)]);
        assert_eq!(session.acked(2).map(|pending| pending.ordinal), Some(2));
        assert_eq!(session.acked(2), None, "a second PUBACK is unsolicited");
        assert_eq!(session.acked(9), None);
        session.offer(0, 0, 4, 0);
        assert_eq!(session.disconnected(), 2);
        assert_eq!(sent(&mut session), [(1, true, 1), (3, true, 3), (4, false, 4)]);
        for id in [4, 3, 1] {
            assert!(session.acked(id).is_some(), "{id}");
        }
        assert_eq!(session.unanswered(), 0);
    }

    #[test]
    fn packet_ids_wrap_around_and_are_unique_among_those_in_use() {
        let mut session = session(65_536);
        assert_eq!(
            sent(&mut session).len(),
            65_535,
            "all identifiers are on their way"
        );
        assert!(session.acked(1).is_some());
        assert_eq!(sent(&mut session), [(1, false, 65_536)]);
        assert_eq!(session.acked(65_535).map(|pending| pending.ordinal), Some(65_535));
        assert_eq!(session.acked(1).map(|pending| pending.ordinal), Some(65_536));
    }
}
