//! Times of the first acks after a fault.

use std::collections::HashMap;

use crate::clock::Nanos;
use crate::oracle::ConvIx;

/// First ack per conversation of a message that was due after a given time.
#[derive(Debug, Default)]
pub(crate) struct FirstAcks {
    since: Option<Nanos>,
    first: HashMap<ConvIx, Nanos>,
}

// === impl FirstAcks ===

impl FirstAcks {
    /// Forgets all acks and records those of messages due at `since` or later.
    pub(crate) fn watch(&mut self, since: Nanos) {
        self.since = Some(since);
        self.first.clear();
    }

    /// Records the ack of a message that was due at `due`.
    pub(crate) fn acked(&mut self, conv: ConvIx, due: Nanos, now: Nanos) {
        // Due times, not send times: a message that queued behind the fault counts from its schedule.
        if self.since.is_some_and(|since| due >= since) {
            self.first.entry(conv).or_insert(now);
        }
    }

    pub(crate) fn first(&self, conv: ConvIx) -> Option<Nanos> {
        self.first.get(&conv).copied()
    }
}
