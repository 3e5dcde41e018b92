//! In-flight limit of a session: above it no command is dispatched and nothing is read from the connection. So TCP
//! slows the client down, and no queue grows. Pure.

/// Maximum number of concurrent queries. Each response may be a page of large messages, held in memory until it is
/// read.
const QUERIES: usize = 4;
/// Bytes of unacknowledged sends at which reading from the connection pauses.
const MAX_BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub(in crate::session) struct InFlightLimit {
    changes: usize,
    bytes: usize,
    queries: usize,
}

// === impl InFlightLimit ===

impl InFlightLimit {
    /// Returns true if another command may be dispatched, with at most `max_sends` unacknowledged ones.
    #[must_use]
    pub(in crate::session) fn has_room(&self, max_sends: usize) -> bool {
        self.changes < max_sends && self.bytes < MAX_BYTES && self.queries < QUERIES
    }

    /// Returns true if no command is unanswered.
    #[must_use]
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.changes == 0 && self.queries == 0
    }

    /// Counts a dispatched change of this size.
    pub(in crate::session) fn change(&mut self, bytes: usize) {
        self.changes += 1;
        self.bytes += bytes;
    }

    /// Releases a change of this size after its response.
    pub(in crate::session) fn changed(&mut self, bytes: usize) {
        self.changes -= 1;
        self.bytes -= bytes;
    }

    /// Counts a dispatched query.
    pub(in crate::session) fn query(&mut self) {
        self.queries += 1;
    }

    /// Releases a query after its response.
    pub(in crate::session) fn answered(&mut self) {
        self.queries -= 1;
    }
}
