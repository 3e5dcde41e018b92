//! Events of one conversation at one member.

use std::collections::BTreeMap;

use serde_json::Value;

use super::RoomTransport;

/// Log as the member has it.
#[derive(Default)]
pub(super) struct RoomLog {
    applied: BTreeMap<u64, Value>,
    /// Events above a hole.
    early: BTreeMap<u64, Value>,
    /// Position of the member's own removal.
    removed_at: Option<u64>,
}

// === impl RoomLog ===

impl RoomLog {
    pub(super) fn applied(&self) -> &BTreeMap<u64, Value> {
        &self.applied
    }

    /// Returns the position of the last applied event; no event before it is missing.
    pub(super) fn last(&self) -> u64 {
        self.applied.keys().next_back().copied().unwrap_or(0)
    }

    pub(super) fn removed_at(&self) -> Option<u64> {
        self.removed_at
    }

    /// Applies the next event, stores a later one and ignores the rest.
    pub(super) fn take(&mut self, user: &str, transport: RoomTransport, event: &Value) {
        assert_eq!(
            self.removed_at, None,
            "{user} ({transport:?}) received {event} behind its removal"
        );
        let Some(s) = event["s"].as_u64() else { return };
        // Its number in the session is another one at each member.
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("n");
        if event["t"] == "member" && event["who"] == user && event["role"].is_null() {
            self.removed_at = Some(s);
        }
        if let Some(known) = self.applied.get(&s).or_else(|| self.early.get(&s)) {
            // The history of a channel is joined with the live events without an overlap.
            assert_ne!(transport, RoomTransport::Cable, "{user} received {event} twice");
            return assert_eq!(*known, event, "{user} ({transport:?}): one event at one place");
        }
        self.early.insert(s, event);
        while let Some(next) = self.early.remove(&(self.last() + 1)) {
            self.applied.insert(self.last() + 1, next);
        }
    }
}
