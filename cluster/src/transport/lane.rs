//! Step 8, at the sender: one outgoing lane to one peer, its queue, its bound and the calls that wait for answers.
//!
//! The lane outlives its links. While there is none, requests are refused at once; a link that breaks takes with it
//! everything queued, and each call is told whether its frame had been handed to the socket.
//!
//! A call's bytes count against the bound until it is answered, a cast's until it is written: the bound also limits
//! what one node can have under way at another.
//!
//! Before: [`crate::raft`] and the node layer call. After: [`wire`](super::wire) writes the [`frame`](super::frame)s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::frame::{Frame, Kind};
use super::metrics::LaneMetrics;
use super::wire::Outbox;

type Answer = Result<Bytes, Error>;

/// One outgoing lane to one peer.
#[derive(Debug)]
pub(crate) struct OutgoingLane {
    state: Mutex<State>,
    wake: Notify,
    bound: usize,
    max_body: usize,
    metrics: LaneMetrics,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    queue: VecDeque<Frame>,
    /// Frames queued or being written, and calls written and not answered.
    bytes: usize,
    /// Never used twice, so that an answer cannot meet another call.
    next_id: u64,
    /// By id, in order: what breaks together is told in call order.
    pending: BTreeMap<u64, Pending>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Down,
    Up,
    Closed,
}

#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Answer>,
    size: usize,
    /// Handed to the socket: from here on nobody can say that the peer did not see it.
    written: bool,
}

/// A caller that waits; dropped, it withdraws the call.
struct Waiting {
    lane: Arc<OutgoingLane>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

// === impl OutgoingLane ===

impl OutgoingLane {
    pub(crate) fn new(bound: usize, max_body: usize, metrics: LaneMetrics) -> OutgoingLane {
        let state = State {
            phase: Phase::Down,
            queue: VecDeque::new(),
            bytes: 0,
            next_id: 1,
            pending: BTreeMap::new(),
        };
        OutgoingLane {
            state: Mutex::new(state),
            wake: Notify::new(),
            bound,
            max_body,
            metrics,
        }
    }

    /// Enqueues a call before it returns.
    pub(crate) fn call(
        self: &Arc<Self>,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Answer> {
        let expires = Instant::now() + deadline;
        let (sender, answer) = oneshot::channel();
        match self.enqueue(Kind::Call, method, body, Some(sender)) {
            Ok(id) => {
                let waiting = Waiting {
                    lane: Arc::clone(self),
                    id,
                    answer,
                };
                Box::pin(waiting.answer(expires))
            }
            Err(error) => Box::pin(future::ready(Err(error))),
        }
    }

    /// Enqueues a one-way message.
    pub(crate) fn cast(&self, method: u16, body: Bytes) -> Result<(), Error> {
        self.enqueue(Kind::Cast, method, body, None).map(drop)
    }

    /// Asks for a sign of life, ahead of everything queued.
    pub(crate) fn ping(&self) {
        let ping = Frame::bare(Kind::Ping);
        let mut state = self.state.lock();
        state.bytes += ping.size();
        state.queue.push_front(ping);
        drop(state);
        self.wake.notify_one();
    }

    /// Hands an answer to the call that waits for it, if it still does.
    pub(crate) fn answered(&self, id: u64, answer: Answer) {
        let mut state = self.state.lock();
        let Some(pending) = state.pending.remove(&id) else {
            return;
        };
        state.release(pending.size, &self.metrics);
        drop(state);
        // The caller may be giving up at this moment; then nobody wants the answer.
        drop(pending.answer.send(answer));
    }

    /// A link came up: requests are accepted from now on.
    pub(crate) fn connected(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Down {
            state.phase = Phase::Up;
        }
    }

    /// The link broke: everything under way is told so, and requests are refused until the next one.
    pub(crate) fn disconnected(&self) {
        self.fail(Phase::Down, Error::Unreachable);
    }

    /// The peer was forgotten or the transport shut down.
    pub(crate) fn close(&self) {
        self.fail(Phase::Closed, Error::Closed);
    }

    fn fail(&self, phase: Phase, unsent: Error) {
        let mut state = self.state.lock();
        if state.phase != Phase::Closed {
            state.phase = phase;
        }
        state.queue.clear();
        state.bytes = 0;
        self.metrics.lane_bytes.set(0);
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        for call in pending.into_values() {
            let error = if call.written { Error::Lost } else { unsent.clone() };
            drop(call.answer.send(Err(error)));
        }
    }

    fn enqueue(
        &self,
        kind: Kind,
        method: u16,
        body: Bytes,
        answer: Option<oneshot::Sender<Answer>>,
    ) -> Result<u64, Error> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Up => {}
            Phase::Down => return Err(Error::Unreachable),
            Phase::Closed => return Err(Error::Closed),
        }
        let id = state.next_id;
        let frame = Frame {
            kind,
            id,
            method,
            body,
        };
        let size = frame.size();
        if state.bytes + size > self.bound || frame.body.len() > self.max_body {
            self.metrics.full.inc();
            return Err(Error::Full);
        }
        state.next_id += 1;
        state.bytes += size;
        self.metrics.lane_bytes.set(state.bytes as i64);
        if let Some(answer) = answer {
            state.pending.insert(
                id,
                Pending {
                    answer,
                    size,
                    written: false,
                },
            );
        }
        // The writer waits only on an empty queue.
        let idle = state.queue.is_empty();
        state.queue.push_back(frame);
        drop(state);
        if idle {
            self.wake.notify_one();
        }
        Ok(id)
    }

    /// Stops waiting for a call. Says whether it had been written, or nothing if it was answered meanwhile. What was
    /// not written never will be.
    fn withdraw(&self, id: u64) -> Option<bool> {
        let mut state = self.state.lock();
        let pending = state.pending.remove(&id)?;
        if pending.written {
            state.release(pending.size, &self.metrics);
        }
        Some(pending.written)
    }
}

impl Outbox for OutgoingLane {
    fn take(&self, frames: &mut Vec<Frame>, limit: usize) -> usize {
        let mut state = self.state.lock();
        let (mut taken, mut release, mut withdrawn) = (0, 0, 0);
        while taken < limit
            && let Some(frame) = state.queue.pop_front()
        {
            let size = frame.size();
            if frame.kind == Kind::Call {
                match state.pending.get_mut(&frame.id) {
                    Some(pending) => pending.written = true,
                    None => {
                        withdrawn += size;
                        continue;
                    }
                }
            } else {
                release += size;
            }
            taken += size;
            frames.push(frame);
        }
        if withdrawn > 0 {
            state.release(withdrawn, &self.metrics);
        }
        release
    }

    fn written(&self, release: usize) {
        if release > 0 {
            self.state.lock().release(release, &self.metrics);
        }
    }

    fn wake(&self) -> &Notify {
        &self.wake
    }
}

// === impl State ===

impl State {
    fn release(&mut self, bytes: usize, metrics: &LaneMetrics) {
        // A link that broke meanwhile has set the count to zero.
        self.bytes = self.bytes.saturating_sub(bytes);
        metrics.lane_bytes.set(self.bytes as i64);
    }
}

// === impl Waiting ===

impl Waiting {
    async fn answer(mut self, expires: Instant) -> Answer {
        match timeout_at(expires, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            // The lane answers every call it drops; without a lane nobody knows.
            Ok(Err(_)) => Err(Error::Lost),
            Err(_) => match self.lane.withdraw(self.id) {
                Some(true) => Err(Error::Timeout),
                Some(false) => Err(Error::Unreachable),
                None => self.answer.try_recv().unwrap_or(Err(Error::Timeout)),
            },
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.lane.withdraw(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lane(bound: usize) -> Arc<OutgoingLane> {
        let lane = Arc::new(OutgoingLane::new(bound, 1000, LaneMetrics::default()));
        lane.connected();
        lane
    }

    fn take(lane: &OutgoingLane) -> Vec<Frame> {
        let mut frames = Vec::new();
        let release = lane.take(&mut frames, usize::MAX);
        lane.written(release);
        frames
    }

    #[tokio::test]
    async fn call_that_was_never_written_is_unreachable_and_a_written_one_is_lost() {
        let lane = lane(1000);
        let written = lane.call(1, Bytes::new(), SECOND);
        assert_eq!(take(&lane).len(), 1);
        let queued = lane.call(2, Bytes::new(), SECOND);
        lane.disconnected();
        assert_eq!(written.await, Err(Error::Lost));
        assert_eq!(queued.await, Err(Error::Unreachable));
        assert_eq!(lane.call(3, Bytes::new(), SECOND).await, Err(Error::Unreachable));
    }

    #[tokio::test(start_paused = true)]
    async fn call_whose_deadline_passes_before_it_is_written_is_never_written() {
        let lane = lane(1000);
        assert_eq!(lane.call(1, Bytes::new(), SECOND).await, Err(Error::Unreachable));
        drop(lane.call(2, Bytes::new(), SECOND));
        assert_eq!(take(&lane), []);
        assert_eq!(lane.state.lock().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn call_whose_deadline_passes_after_it_was_written_times_out() {
        let lane = lane(1000);
        let call = lane.call(1, Bytes::new(), SECOND);
        take(&lane);
        assert_eq!(call.await, Err(Error::Timeout));
        assert_eq!(lane.state.lock().bytes, 0);
    }

    #[tokio::test]
    async fn bound_counts_calls_until_they_are_answered_and_casts_until_they_are_written() {
        let lane = lane(100);
        let call = lane.call(1, Bytes::from_static(&[0; 31]), SECOND);
        assert_eq!(lane.cast(1, Bytes::from_static(&[0; 31])), Ok(()));
        assert_eq!(lane.cast(1, Bytes::new()), Err(Error::Full));
        let id = take(&lane)[0].id;
        assert_eq!(lane.state.lock().bytes, 50);
        lane.answered(id, Ok(Bytes::from_static(b"yes")));
        assert_eq!(call.await, Ok(Bytes::from_static(b"yes")));
        assert_eq!(lane.state.lock().bytes, 0);
    }

    #[tokio::test]
    async fn body_larger_than_any_frame_is_full_not_sent() {
        let lane = lane(1 << 20);
        assert_eq!(lane.cast(1, vec![0; 1001].into()), Err(Error::Full));
    }

    #[tokio::test]
    async fn frames_leave_in_call_order_and_pings_overtake() {
        let lane = lane(1000);
        let _first = lane.call(1, Bytes::new(), SECOND);
        lane.cast(2, Bytes::new()).unwrap();
        lane.ping();
        let kinds: Vec<_> = take(&lane)
            .iter()
            .map(|frame| (frame.kind, frame.method))
            .collect();
        assert_eq!(kinds, [(Kind::Ping, 0), (Kind::Call, 1), (Kind::Cast, 2)]);
    }

    #[tokio::test]
    async fn closed_lane_says_so() {
        let lane = lane(1000);
        let queued = lane.call(1, Bytes::new(), SECOND);
        lane.close();
        lane.connected();
        assert_eq!(queued.await, Err(Error::Closed));
        assert_eq!(lane.cast(1, Bytes::new()), Err(Error::Closed));
    }
}
