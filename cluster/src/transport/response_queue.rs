//! Responses of one incoming connection: the [`Responder`] of each call, and the bounded queue that it fills.
//!
//! Path of a message: step 10 of 13.
//!
//! Previous: the handler of the call. Next: [`connection`](super::connection), which writes the frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use crate::log_throttle::LogThrottle;

use super::Error;
use super::connection::FrameSource;
use super::frame::{FrameKind, TransportFrame};

/// Throttle of a warning that repeats with every retry of the same request.
static TOO_LONG: LogThrottle = LogThrottle::every(Duration::from_secs(60));

/// Queue of responses that are not yet written. Over the bound the connection reads no further requests. At twice the
/// bound, which the handler can reach with requests it already has, the connection is closed.
#[derive(Debug)]
pub(crate) struct ResponseQueue {
    state: Mutex<ResponseQueueState>,
    wake: Notify,
    room: Notify,
    bound: usize,
    max_body: usize,
}

#[derive(Debug, Default)]
struct ResponseQueueState {
    queue: VecDeque<TransportFrame>,
    bytes: usize,
    /// The connection has ended or must end.
    closed: bool,
}

/// Handle for the response to one call. Dropped without [`send`](Responder::send), it reports [`Error::Lost`] to the
/// caller: the call reached the handler, but its outcome is unknown.
#[derive(Debug)]
pub struct Responder(Option<ResponseSink>);

/// Destination of a response.
#[derive(Debug)]
enum ResponseSink {
    Local(oneshot::Sender<Result<Bytes, Error>>),
    Link(Arc<ResponseQueue>, u64),
}

// === impl ResponseQueue ===

impl ResponseQueue {
    pub(crate) fn new(bound: usize, max_body: usize) -> Arc<ResponseQueue> {
        Arc::new(ResponseQueue {
            state: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            bound,
            max_body,
        })
    }

    /// Enqueues the response to call `id`. Dropped once the connection has ended: the caller detects the end by itself.
    pub(crate) fn push(&self, kind: FrameKind, id: u64, body: Bytes) {
        let mut frame = TransportFrame {
            kind,
            id,
            method: 0,
            body,
        };
        if frame.body.len() > self.max_body {
            if let Some(held_back) = TOO_LONG.due() {
                warn!(
                    bytes = frame.body.len(),
                    max = self.max_body,
                    held_back,
                    "response exceeds the frame limit, dropped"
                );
            }
            // Some response must go out, or the call would wait for its deadline.
            frame = TransportFrame {
                id,
                ..TransportFrame::bare(FrameKind::NoResponse)
            };
        }
        let size = frame.size();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        // The reader stops at the bound. Requests in the handler may still respond, but not without limit.
        if state.bytes + size > self.bound.saturating_mul(2) {
            state.closed = true;
            state.queue.clear();
            drop(state);
            // Wakes the reader, which then closes the connection.
            self.room.notify_one();
            return;
        }
        state.bytes += size;
        let idle = state.queue.is_empty();
        state.queue.push_back(frame);
        drop(state);
        // The writer waits only on an empty queue.
        if idle {
            self.wake.notify_one();
        }
    }

    /// Enqueues a pong ahead of all responses, unless one is already there.
    pub(crate) fn pong(&self) {
        let pong = TransportFrame::bare(FrameKind::Pong);
        let mut state = self.state.lock();
        // A peer that pings without reading must not fill the queue.
        if state.closed || state.queue.front() == Some(&pong) {
            return;
        }
        state.bytes += pong.size();
        state.queue.push_front(pong);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits until the queue is within its bound. Returns false if the connection must end.
    pub(crate) async fn has_room(&self) -> bool {
        loop {
            // The lock is released before the await.
            {
                let state = self.state.lock();
                if state.closed {
                    return false;
                }
                if state.bytes <= self.bound {
                    return true;
                }
            }
            self.room.notified().await;
        }
    }

    /// Drops all responses, because the connection has ended.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
    }
}

impl FrameSource for ResponseQueue {
    fn take(&self, frames: &mut Vec<TransportFrame>, limit: usize) -> usize {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < limit
            && let Some(frame) = state.queue.pop_front()
        {
            taken += frame.size();
            frames.push(frame);
        }
        taken
    }

    fn written(&self, release: usize) {
        let mut state = self.state.lock();
        // Only the crossing of the bound wakes the reader; it does not wait below it.
        let over = state.bytes > self.bound;
        state.bytes = state.bytes.saturating_sub(release);
        if over && state.bytes <= self.bound {
            drop(state);
            self.room.notify_one();
        }
    }

    fn wake(&self) -> &Notify {
        &self.wake
    }
}

// === impl Responder ===

impl Responder {
    /// Creates a responder and a receiver of its response, for calls of a node to itself.
    pub fn local() -> (Responder, oneshot::Receiver<Result<Bytes, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Responder(Some(ResponseSink::Local(sender))), receiver)
    }

    /// Creates the responder of call `id` on the connection that `answers` belongs to.
    pub(crate) fn link(answers: Arc<ResponseQueue>, id: u64) -> Responder {
        Responder(Some(ResponseSink::Link(answers, id)))
    }

    /// Sends the response: `Err` reaches the caller as [`Error::Refused`].
    pub fn send(mut self, answer: Result<Bytes, Bytes>) {
        match (self.0.take(), answer) {
            // Fails if the caller has stopped waiting.
            (Some(ResponseSink::Local(sender)), answer) => drop(sender.send(answer.map_err(Error::Refused))),
            (Some(ResponseSink::Link(answers, id)), Ok(body)) => answers.push(FrameKind::Response, id, body),
            (Some(ResponseSink::Link(answers, id)), Err(body)) => answers.push(FrameKind::Refusal, id, body),
            (None, _) => {}
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        match self.0.take() {
            Some(ResponseSink::Local(sender)) => drop(sender.send(Err(Error::Lost))),
            Some(ResponseSink::Link(answers, id)) => answers.push(FrameKind::NoResponse, id, Bytes::new()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reader_waits_over_the_limit_until_responses_are_written() {
        let answers = ResponseQueue::new(40, 100);
        answers.push(FrameKind::Response, 1, Bytes::from_static(&[0; 30]));
        assert!(futures::FutureExt::now_or_never(answers.has_room()).is_none());
        let mut frames = Vec::new();
        let release = answers.take(&mut frames, usize::MAX);
        answers.written(release);
        assert!(answers.has_room().await);
    }

    #[tokio::test]
    async fn peer_that_reads_no_answers_loses_its_connection() {
        let answers = ResponseQueue::new(20, 100);
        (1..=3).for_each(|id| answers.push(FrameKind::Response, id, Bytes::new()));
        assert!(!answers.has_room().await);
        let mut frames = Vec::new();
        answers.take(&mut frames, usize::MAX);
        assert_eq!(frames, []);
    }

    #[tokio::test]
    async fn dropped_responder_makes_the_outcome_unknown() {
        let (reply, answer) = Responder::local();
        drop(reply);
        assert_eq!(answer.await.unwrap(), Err(Error::Lost));
    }

    #[tokio::test]
    async fn refusal_carries_the_handlers_error() {
        let (reply, answer) = Responder::local();
        reply.send(Err(Bytes::from_static(b"no")));
        assert_eq!(
            answer.await.unwrap(),
            Err(Error::Refused(Bytes::from_static(b"no")))
        );
    }
}
