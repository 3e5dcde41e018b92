//! Checks of a broker: every acknowledged message reaches every subscriber, and only published messages arrive.
//!
//! Pure. Per topic, receiver and sender it stores one number, and the ordinals that arrived out of order.

use std::collections::{BTreeSet, HashMap};

use crate::oracle::{ConvIx, JudgedCounts, ViolationKind};
use crate::payload::{ClientIx, MessageTag, Ordinal};

/// Record of all published, acknowledged and received messages.
#[derive(Debug)]
pub(super) struct DeliveryChecker {
    pub(super) counts: JudgedCounts,
    /// Numbers of the subscribers by topic.
    subscribers: Vec<Vec<ClientIx>>,
    senders: HashMap<(ConvIx, ClientIx), SenderOrdinals>,
    received: HashMap<(ConvIx, ClientIx, ClientIx), Ordinals>,
}

#[derive(Debug, Default)]
struct SenderOrdinals {
    issued: Ordinal,
    acked: Ordinals,
}

/// Set of ordinals that mostly grows at its end.
#[derive(Debug, Default)]
struct Ordinals {
    /// Every ordinal from 1 up to this one is contained.
    whole: Ordinal,
    above: BTreeSet<Ordinal>,
}

/// Acknowledged message that a subscriber lacks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Missing {
    pub(super) conv: ConvIx,
    pub(super) receiver: ClientIx,
    pub(super) tag: MessageTag,
}

// === impl DeliveryChecker ===

impl DeliveryChecker {
    pub(super) fn new(subscribers: Vec<Vec<ClientIx>>) -> DeliveryChecker {
        DeliveryChecker {
            counts: JudgedCounts::default(),
            subscribers,
            senders: HashMap::new(),
            received: HashMap::new(),
        }
    }

    /// Returns the ordinal of the next message that `sender` publishes to the topic.
    pub(super) fn issue(&mut self, conv: ConvIx, sender: ClientIx) -> Ordinal {
        self.counts.sent += 1;
        let sender = self.senders.entry((conv, sender)).or_default();
        sender.issued += 1;
        sender.issued
    }

    /// Records the PUBACK of a message.
    pub(super) fn acked(&mut self, conv: ConvIx, tag: MessageTag) {
        self.counts.acked += 1;
        let sender = self.senders.entry((conv, tag.sender)).or_default();
        sender.acked.insert(tag.ordinal);
    }

    /// Records a received message. Returns `true` for the first copy, and an error for a message that was never
    /// published.
    pub(super) fn received(
        &mut self,
        conv: ConvIx,
        receiver: ClientIx,
        tag: MessageTag,
    ) -> Result<bool, (ViolationKind, String)> {
        let issued = self
            .senders
            .get(&(conv, tag.sender))
            .map_or(0, |sender| sender.issued);
        // Compared with the issued ordinals, not the acknowledged ones: a message may arrive before its PUBACK.
        if tag.ordinal == 0 || tag.ordinal > issued {
            return Err((
                ViolationKind::Phantom,
                format!("{tag:?}, whose sender published only {issued} messages"),
            ));
        }
        let all = self.received.entry((conv, receiver, tag.sender)).or_default();
        let first = all.insert(tag.ordinal);
        if first {
            self.counts.applied += 1;
        } else {
            self.counts.doubled += 1;
        }
        Ok(first)
    }

    /// Returns acknowledged messages that a subscriber lacks, at most `most`.
    pub(super) fn missing(&self, most: usize) -> Vec<Missing> {
        let mut missing = Vec::new();
        let nothing = Ordinals::default();
        for ((conv, sender), published) in &self.senders {
            for receiver in self.subscribers.get(*conv as usize).into_iter().flatten() {
                let has = self
                    .received
                    .get(&(*conv, *receiver, *sender))
                    .unwrap_or(&nothing);
                let acked = published.acked.without(has);
                let lacks = acked.map(|ordinal| Missing {
                    conv: *conv,
                    receiver: *receiver,
                    tag: MessageTag {
                        sender: *sender,
                        ordinal,
                    },
                });
                missing.extend(lacks.take(most - missing.len()));
                if missing.len() == most {
                    return missing;
                }
            }
        }
        missing
    }
}

// === impl Ordinals ===

impl Ordinals {
    /// Inserts an ordinal. Returns `false` if it was contained.
    fn insert(&mut self, ordinal: Ordinal) -> bool {
        if ordinal <= self.whole || !self.above.insert(ordinal) {
            return false;
        }
        while self.above.remove(&(self.whole + 1)) {
            self.whole += 1;
        }
        true
    }

    fn contains(&self, ordinal: Ordinal) -> bool {
        ordinal <= self.whole || self.above.contains(&ordinal)
    }

    /// Returns the ordinals of this set that `there` lacks.
    fn without(&self, there: &Ordinals) -> impl Iterator<Item = Ordinal> {
        let below = (there.whole.min(self.whole) + 1)..=self.whole;
        let all = below.chain(self.above.iter().copied());
        all.filter(|ordinal| !there.contains(*ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(ordinal: Ordinal) -> MessageTag {
        MessageTag { sender: 0, ordinal }
    }

    /// Clients 0 and 1 subscribe; client 0 has published three messages.
    fn judge() -> DeliveryChecker {
        let mut judge = DeliveryChecker::new(vec![vec![0, 1]]);
        for ordinal in 1..=3 {
            assert_eq!(judge.issue(0, 0), ordinal);
        }
        judge
    }

    #[test]
    fn what_was_acked_and_reached_everybody_is_not_missing() {
        let mut judge = judge();
        for ordinal in [2, 1, 3] {
            judge.acked(0, tag(ordinal));
            for receiver in [0, 1] {
                assert_eq!(judge.received(0, receiver, tag(ordinal)), Ok(true));
            }
        }
        assert_eq!(judge.missing(9), []);
    }

    #[test]
    fn an_acked_message_that_one_subscriber_lacks_is_lost() {
        let mut judge = judge();
        (1..=3).for_each(|ordinal| judge.acked(0, tag(ordinal)));
        for (receiver, ordinal) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 3)] {
            assert_eq!(judge.received(0, receiver, tag(ordinal)), Ok(true));
        }
        let lost = Missing {
            conv: 0,
            receiver: 1,
            tag: tag(2),
        };
        assert_eq!(judge.missing(9), [lost]);
    }

    #[test]
    fn an_unacked_message_may_be_lost_and_a_double_is_counted() {
        let mut judge = judge();
        assert_eq!(judge.received(0, 1, tag(1)), Ok(true));
        assert_eq!(judge.received(0, 1, tag(1)), Ok(false));
        assert_eq!((judge.missing(9).len(), judge.counts.doubled), (0, 1));
    }

    #[test]
    fn an_unpublished_message_is_a_phantom() {
        let phantom = judge().received(0, 1, tag(4));
        assert!(matches!(phantom, Err((ViolationKind::Phantom, _))), "{phantom:?}");
    }
}
