//! Requests that the session has not answered, by their number. Pure.

use std::collections::HashMap;
use std::rc::Rc;

use super::subscription_table::SubscriptionKey;

/// Requests of one connection. Bounded by the session, which dispatches no further command while too many are
/// unanswered.
#[derive(Debug, Default)]
pub(super) struct RequestTable {
    last: i64,
    purposes: HashMap<i64, RequestPurpose>,
}

/// Receiver of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestPurpose {
    /// Action of the client.
    Action {
        /// Identifier as a JSON string.
        identifier: Rc<str>,
        /// The client's number of the action.
        id: Option<i64>,
    },
    /// Check of the membership.
    Open(SubscriptionKey),
    /// Page of a history.
    Page(SubscriptionKey),
    /// Page of the members whose presence is shown.
    Members(SubscriptionKey),
    /// Watch of these members.
    Watch(SubscriptionKey),
}

// === impl RequestTable ===

impl RequestTable {
    /// Adds a request and returns its number.
    pub(super) fn add(&mut self, purpose: RequestPurpose) -> i64 {
        let id = self.next_id();
        self.purposes.insert(id, purpose);
        id
    }

    /// Returns a number for a request without an answer.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Removes an answered request.
    pub(super) fn take(&mut self, id: i64) -> Option<RequestPurpose> {
        self.purposes.remove(&id)
    }
}
