//! Actions that follow from changes of a stream, and the pages of the log. Pure values.

use bytes::Bytes;

/// Treatment of a live event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventEffect {
    Send,
    /// The event was sent before, or the log is read up to it later.
    Skip,
}

/// Action that follows from a change of the stream, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamEffect {
    ConfirmSubscription,
    ConfirmHistory,
    RejectHistory,
    /// Sends the events of the page from this index on.
    Send(usize),
    /// Sends the event with this tail and ends the subscription.
    SendRemoval(Bytes),
    /// Tells the client that events are missing.
    Resync,
    /// Ends the subscription with a rejection.
    Reject,
    /// Ends the subscription without a frame: the client tries again by itself.
    Forget,
    /// Reads a page of the log.
    Query(LogPage),
}

/// Page of the log to be read; with neither bound the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogPage {
    pub(super) after: Option<u64>,
    pub(super) limit: u64,
}

/// Position and time of an event on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageEvent {
    pub(super) seq: u64,
    pub(super) ts: u64,
}

/// Position and tail of the event that removes the user, while it cannot be sent.
#[derive(Clone, Debug)]
pub(super) struct HeldRemoval {
    pub(super) seq: u64,
    pub(super) tail: Bytes,
}
