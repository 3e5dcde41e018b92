//! Long polling: the client fetches its events by requests instead of a permanent connection. Between two polls the
//! session is detached.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection_handle::ConnectionHandle;
use super::messages::{PollRequest, PollResponse};

/// Long polls of one session, of which only the last one waits.
pub(super) struct LongPoll {
    connection: Rc<ConnectionHandle>,
    /// Number of the current or last poll.
    number: Rc<Cell<u64>>,
}

/// Events behind a number, with their numbers.
type NumberedEvents = Vec<(u64, Bytes)>;

// === impl LongPoll ===

impl LongPoll {
    /// Creates the state of a session without a poll. The events come from the outbound queue of `connection`.
    pub(super) fn new(connection: Rc<ConnectionHandle>) -> LongPoll {
        LongPoll {
            connection,
            number: Rc::default(),
        }
    }

    /// Starts another poll, which ends the previous one without events. Returns its number.
    pub(super) fn begin(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.connection.outbox(|outbox| outbox.wake());
        self.number.get()
    }

    /// Ends the current poll without events.
    pub(super) fn end(&self) {
        self.begin();
    }

    /// Returns true if no other poll has begun since.
    pub(super) fn is_current(&self, number: u64) -> bool {
        self.number.get() == number
    }

    /// Answers poll `number` once there are events, or empty after its timeout. Completes early if the request is
    /// cancelled.
    pub(super) fn answer(
        &self,
        number: u64,
        request: &PollRequest,
        mut response: oneshot::Sender<PollResponse>,
    ) -> impl Future<Output = ()> + use<> {
        let until = Instant::now() + request.wait;
        let events = self.events(number, request.after);
        async move {
            let events = tokio::select! {
                events = events => events,
                () = tokio::time::sleep_until(until) => Vec::new(),
                // The request was cancelled: the session is detached at once.
                () = response.closed() => Vec::new(),
            };
            // The request may have been cancelled; its client polls again.
            let _cancelled = response.send(PollResponse { events });
        }
    }

    /// Resolves with the events behind `after` as soon as there are any. Resolves empty when another poll begins or the
    /// session ends.
    fn events(&self, number: u64, after: u64) -> impl Future<Output = NumberedEvents> + use<> {
        let (connection, current) = (self.connection.clone(), self.number.clone());
        std::future::poll_fn(move |cx| {
            // Checked at every wake-up: a newer poll of the same session ends this one.
            if current.get() != number || connection.is_closed() {
                return Poll::Ready(Vec::new());
            }
            connection.outbox(|outbox| {
                let events = outbox.piece_after(after);
                if events.is_empty() {
                    outbox.watch(cx);
                    Poll::Pending
                } else {
                    Poll::Ready(events)
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Weak;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::config::Config;
    use crate::session::{CloseSocket, OutboundQueue, QueueBounds};

    struct NoSocket;

    impl CloseSocket for NoSocket {
        fn cut(&self) {}
    }

    fn long_poll() -> LongPoll {
        let bounds = QueueBounds::from(&Config::default());
        let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
        LongPoll::new(ConnectionHandle::new(OutboundQueue::unconnected(bounds), socket))
    }

    fn request(wait: Duration) -> PollRequest {
        PollRequest {
            after: 0,
            wait,
            expires: None,
            login: None,
        }
    }

    #[tokio::test]
    async fn another_poll_ends_the_waiting_one_without_events() {
        let polls = long_poll();
        let (sender, response) = oneshot::channel();
        let first = polls.begin();
        let mut waiting = Box::pin(polls.answer(first, &request(Duration::from_secs(60)), sender));
        assert!((&mut waiting).now_or_never().is_none());
        let second = polls.begin();
        assert!(!polls.is_current(first) && polls.is_current(second));
        waiting.await;
        assert!(response.await.unwrap().events.is_empty());
    }

    #[tokio::test]
    async fn poll_is_answered_by_the_next_event() {
        let polls = long_poll();
        let (sender, response) = oneshot::channel();
        let mut waiting = Box::pin(polls.answer(polls.begin(), &request(Duration::from_secs(60)), sender));
        assert!((&mut waiting).now_or_never().is_none());
        let tail = Bytes::from_static(br#""t":"typing"}"#);
        polls
            .connection
            .outbox(|outbox| outbox.ephemeral(tail.clone(), false));
        waiting.await;
        assert_eq!(response.await.unwrap().events, [(1, tail)]);
    }

    #[tokio::test(start_paused = true)]
    async fn poll_ends_at_its_timeout_and_when_its_request_is_cancelled() {
        let polls = long_poll();
        let (sender, response) = oneshot::channel();
        polls
            .answer(polls.begin(), &request(Duration::from_secs(1)), sender)
            .await;
        assert!(response.await.unwrap().events.is_empty());
        let (sender, response) = oneshot::channel();
        drop(response);
        let cancelled = polls.answer(polls.begin(), &request(Duration::from_secs(60)), sender);
        assert!(cancelled.now_or_never().is_some());
    }
}
