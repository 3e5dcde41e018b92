//! Delivery of events to one client: subscriber, outbound queue, replay buffer and delivered cursors.
//!
//! Path of a message: step 12 of 13.

mod delivery_tracker;
mod echo_filter;
mod framing;
mod outbound_queue;
mod queue_bounds;
mod replay_buffer;
mod subscriber;
mod unconfirmed_positions;

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{ConversationId, Response};

use super::connection_handle::ConnectionHandle;

pub use framing::{Framing, WriteChunk};
pub use outbound_queue::OutboundQueue;
pub use queue_bounds::QueueBounds;
pub(super) use replay_buffer::{BufferedEvent, Gap};
pub(super) use subscriber::{EventSubscriber, LATEST};

/// Concurrent subscriptions per session that are caused by activity.
const ACTIVITY_SUBSCRIPTIONS: usize = 16;
/// Prefix of a close event, which concerns one connection only.
const CLOSE_EVENT: &[u8] = br#""t":"bye""#;

/// Delivery to the client of one session.
pub(super) struct Delivery {
    connection: Rc<ConnectionHandle>,
    /// `None` until the client is authenticated.
    subscriber: Option<Rc<EventSubscriber>>,
    /// Time for which delivered cursors are collected.
    report_interval: Duration,
    /// Time of the next report of delivered cursors; `None`: nothing to report.
    report_at: Option<Instant>,
    /// Subscriptions in progress that were caused by activity.
    activity_subscriptions: usize,
}

// === impl Delivery ===

impl Delivery {
    /// Creates the delivery of a client that is not authenticated.
    pub(super) fn new(connection: Rc<ConnectionHandle>, report_interval: Duration) -> Delivery {
        Delivery {
            connection,
            subscriber: None,
            report_interval,
            report_at: None,
            activity_subscriptions: 0,
        }
    }

    /// Sets the subscriber of the authenticated client.
    pub(super) fn attach(&mut self, subscriber: Rc<EventSubscriber>) {
        self.subscriber = Some(subscriber);
    }

    pub(super) fn subscriber(&self) -> Option<&Rc<EventSubscriber>> {
        self.subscriber.as_ref()
    }

    /// Queues the response to the command with this id.
    pub(super) fn respond(&self, id: Option<i64>, response: &Response) {
        let body = Bytes::from(response.encode(id));
        self.connection.outbox(|outbox| outbox.answer(body));
    }

    // --- delivered cursors ---

    /// Confirms all events up to number `n`.
    pub(super) fn confirm(&mut self, n: u64, now: Instant) {
        self.connection.confirm(n);
        if let Some(subscriber) = &self.subscriber {
            subscriber.confirm_positions(n);
        }
        self.deliver(n, now);
    }

    /// Moves the delivered cursors of all events up to number `n`. They stay in the replay buffer: the client's
    /// application may not have them yet.
    pub(super) fn deliver(&mut self, n: u64, now: Instant) {
        let Some(subscriber) = &self.subscriber else {
            return;
        };
        let moved = subscriber.tracker.borrow_mut().applied(n);
        if moved && self.report_at.is_none() {
            self.schedule_report(now);
        }
    }

    /// Adds the unreported cursors of the resumed session.
    pub(super) fn inherit(&mut self, delivered: Vec<(ConversationId, u64)>, now: Instant) {
        let Some(subscriber) = self.subscriber.clone() else {
            return;
        };
        for (conv, s) in delivered {
            if subscriber.tracker.borrow_mut().confirm(conv, s) {
                self.schedule_report(now);
            }
        }
        self.connection.request_check();
    }

    /// Returns the time of the next report.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    pub(super) fn is_report_due(&self, now: Instant) -> bool {
        self.report_at.is_some_and(|at| now >= at)
    }

    /// Ends the wait for the next report.
    pub(super) fn cancel_report(&mut self) {
        self.report_at = None;
    }

    /// Drains the collected cursors.
    pub(super) fn take_cursors(&mut self) -> Vec<(ConversationId, u64)> {
        self.report_at = None;
        let subscriber = self.subscriber.as_ref();
        subscriber.map_or_else(Vec::new, |subscriber| subscriber.tracker.borrow_mut().take())
    }

    /// Returns the collected cursors.
    pub(super) fn pending_cursors(&self) -> Vec<(ConversationId, u64)> {
        let subscriber = self.subscriber.as_ref();
        subscriber.map_or_else(Vec::new, |subscriber| subscriber.tracker.borrow().pending())
    }

    /// Restores a cursor whose report was temporarily refused.
    pub(super) fn restore_cursor(&mut self, conv: ConversationId, s: u64, now: Instant) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.tracker.borrow_mut().unreported(conv, s);
            self.schedule_report(now);
        }
    }

    fn schedule_report(&mut self, now: Instant) {
        self.report_at.get_or_insert(now + self.report_interval);
        // The check that follows sets the new deadline in the worker's clock.
        self.connection.request_check();
    }

    // --- activity ---

    /// Drains the active conversations without a subscription, as many as may be subscribed to now. Each counts until
    /// [`end_activity`](Self::end_activity).
    pub(super) fn take_active(&mut self) -> Vec<ConversationId> {
        let Some(subscriber) = &self.subscriber else {
            return Vec::new();
        };
        // Bounded: a user with many busy conversations must not flood the owners with subscriptions.
        let room = ACTIVITY_SUBSCRIPTIONS.saturating_sub(self.activity_subscriptions);
        let active = subscriber.take_active(room);
        self.activity_subscriptions += active.len();
        active.into_iter().map(|(conv, _)| conv).collect()
    }

    /// Counts a subscription that is caused by activity of the client itself.
    pub(super) fn begin_activity(&mut self) {
        self.activity_subscriptions += 1;
    }

    /// Releases a subscription that was caused by activity.
    pub(super) fn end_activity(&mut self) {
        self.activity_subscriptions = self.activity_subscriptions.saturating_sub(1);
    }

    // --- transfer ---

    /// Returns the number of the last event that the client has confirmed, or that was evicted.
    pub(super) fn floor(&self) -> u64 {
        self.connection.outbox(|outbox| outbox.floor())
    }

    /// Returns the events behind `n` for the session that resumes this one.
    ///
    /// # Errors
    /// [`Gap`] if some of them were removed, or `n` was never reached.
    pub(super) fn events_after(&self, n: u64) -> Result<Vec<BufferedEvent>, Gap> {
        self.connection.outbox(|outbox| {
            // Replayed, a close event would announce the end of the new connection.
            let events = outbox
                .after(n)?
                .filter(|(_, event)| !event.tail.starts_with(CLOSE_EVENT));
            Ok(events.map(|(_, event)| event.clone()).collect())
        })
    }
}

#[cfg(test)]
mod tests;
