//! The answers that wait on one incoming connection, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::seldom::Seldom;

use super::frame::{Frame, Kind};
use super::wire::Outbox;

/// Whoever asks again gets as long an answer again.
static TOO_LONG: Seldom = Seldom::every(Duration::from_secs(60));

/// Answers that were given and not yet written. Over the bound the connection reads no further requests; far over it
/// (the handler answers what it was given before) it is closed.
#[derive(Debug)]
pub(crate) struct Answers {
    state: Mutex<State>,
    wake: Notify,
    room: Notify,
    bound: usize,
    max_body: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    /// The connection has ended, or must end.
    closed: bool,
}

// === impl Answers ===

impl Answers {
    pub(crate) fn new(bound: usize, max_body: usize) -> Arc<Answers> {
        Arc::new(Answers {
            state: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            bound,
            max_body,
        })
    }

    /// Queues the answer to call `id`. After the connection's end it is dropped: the caller knows that it is gone.
    pub(crate) fn push(&self, kind: Kind, id: u64, body: Bytes) {
        let mut frame = Frame {
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
                    "answer larger than any frame dropped"
                );
            }
            frame = Frame {
                id,
                ..Frame::bare(Kind::NoAnswer)
            };
        }
        let size = frame.size();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.bytes + size > self.bound.saturating_mul(2) {
            state.closed = true;
            state.queue.clear();
            drop(state);
            self.room.notify_one();
            return;
        }
        state.bytes += size;
        let idle = state.queue.is_empty();
        state.queue.push_back(frame);
        drop(state);
        if idle {
            self.wake.notify_one();
        }
    }

    /// Answers a ping, ahead of everything queued: at most one pong waits.
    pub(crate) fn pong(&self) {
        let pong = Frame::bare(Kind::Pong);
        let mut state = self.state.lock();
        if state.closed || state.queue.front() == Some(&pong) {
            return;
        }
        state.bytes += pong.size();
        state.queue.push_front(pong);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits until the queue is within its bound. Returns whether the connection may go on.
    pub(crate) async fn has_room(&self) -> bool {
        loop {
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

    /// The connection has ended.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
    }
}

impl Outbox for Answers {
    fn take(&self, frames: &mut Vec<Frame>, limit: usize) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reader_waits_over_the_bound_and_goes_on_when_answers_are_written() {
        let answers = Answers::new(40, 100);
        answers.push(Kind::Answer, 1, Bytes::from_static(&[0; 30]));
        assert!(futures::FutureExt::now_or_never(answers.has_room()).is_none());
        let mut frames = Vec::new();
        let release = answers.take(&mut frames, usize::MAX);
        answers.written(release);
        assert!(answers.has_room().await);
    }

    #[tokio::test]
    async fn peer_that_reads_no_answers_loses_its_connection() {
        let answers = Answers::new(20, 100);
        (1..=3).for_each(|id| answers.push(Kind::Answer, id, Bytes::new()));
        assert!(!answers.has_room().await);
        let mut frames = Vec::new();
        answers.take(&mut frames, usize::MAX);
        assert_eq!(frames, []);
    }
}
