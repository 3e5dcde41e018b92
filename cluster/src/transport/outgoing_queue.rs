//! Sending side of the transport: outgoing queue of one peer and connection class, with the calls that
//! wait for responses.
//!
//! Path of a message: step 4 of 13.
//!
//! The queue outlives its connections. While there is none, requests are refused immediately. A connection that breaks
//! discards everything queued, and each call fails with an error that states if its frame had been passed to the
//! socket.
//!
//! A call's bytes count against the bound until its response arrives, a cast's until it is written. The bound therefore
//! also limits the work that one node can have in flight at another. A request beyond it fails with
//! [`Error::Full`] (metric `transport_full`).
//!
//! Previous: [`crate::raft`] and the node layer. Next: [`connection`](super::connection), which writes the
//! [`frame`](super::frame)s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::connection::{CloseCause, FrameSink, FrameSource};
use super::frame::{FrameKind, TransportFrame};
use super::metrics::ClassMetrics;

type CallResult = Result<Bytes, Error>;

/// Outgoing queue of one peer and connection class.
#[derive(Debug)]
pub(crate) struct OutgoingQueue {
    state: Mutex<OutgoingQueueState>,
    wake: Notify,
    bound: usize,
    max_body: usize,
    metrics: ClassMetrics,
}

#[derive(Debug)]
struct OutgoingQueueState {
    phase: QueuePhase,
    /// Frames, each with the time at which it was queued.
    queue: VecDeque<(Instant, TransportFrame)>,
    /// Bytes of frames that are queued or being written, and of written calls without a response.
    bytes: usize,
    /// Next call id. Never used twice, so that a late response cannot match another call.
    next_id: u64,
    /// Pending calls by id: when a connection breaks, they fail in call order.
    pending: BTreeMap<u64, PendingCall>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum QueuePhase {
    Down,
    Up,
    Closed,
}

#[derive(Debug)]
struct PendingCall {
    answer: oneshot::Sender<CallResult>,
    size: usize,
    /// The frame was passed to the socket, so the peer may have received it.
    written: bool,
}

/// Pending call of a caller; withdraws the call on drop.
struct CallFuture {
    queue: Arc<OutgoingQueue>,
    id: u64,
    answer: oneshot::Receiver<CallResult>,
}

// === impl OutgoingQueue ===

impl OutgoingQueue {
    pub(crate) fn new(bound: usize, max_body: usize, metrics: ClassMetrics) -> OutgoingQueue {
        let state = OutgoingQueueState {
            phase: QueuePhase::Down,
            queue: VecDeque::new(),
            bytes: 0,
            next_id: 1,
            pending: BTreeMap::new(),
        };
        OutgoingQueue {
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
    ) -> BoxFuture<'static, CallResult> {
        // Counted from the call and not from the first poll: time in the queue is part of the deadline.
        let expires = Instant::now() + deadline;
        let (sender, answer) = oneshot::channel();
        match self.enqueue(FrameKind::Call, method, body, Some(sender)) {
            Ok(id) => {
                let waiting = CallFuture {
                    queue: Arc::clone(self),
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
        self.enqueue(FrameKind::Cast, method, body, None).map(drop)
    }

    /// Enqueues a ping ahead of all other frames.
    pub(crate) fn ping(&self) {
        let ping = TransportFrame::bare(FrameKind::Ping);
        // Beyond the bound if necessary: a full queue must still detect a dead peer.
        let mut state = self.state.lock();
        state.bytes += ping.size();
        state.queue.push_front((Instant::now(), ping));
        drop(state);
        self.wake.notify_one();
    }

    /// Completes the call `id`, if it is still pending.
    pub(crate) fn answered(&self, id: u64, answer: CallResult) {
        let mut state = self.state.lock();
        let Some(pending) = state.pending.remove(&id) else {
            return;
        };
        state.release(pending.size, &self.metrics);
        drop(state);
        // Fails if the caller's deadline expires in this moment.
        drop(pending.answer.send(answer));
    }

    /// Accepts requests from now on, because a connection was established.
    pub(crate) fn connected(&self) {
        let mut state = self.state.lock();
        if state.phase == QueuePhase::Down {
            state.phase = QueuePhase::Up;
        }
    }

    /// Fails all pending calls and refuses requests until the next connection.
    pub(crate) fn disconnected(&self) {
        self.fail(QueuePhase::Down, Error::Unreachable);
    }

    /// Refuses requests for good: the peer was removed, or the transport shut down.
    pub(crate) fn close(&self) {
        self.fail(QueuePhase::Closed, Error::Closed);
    }

    fn fail(&self, phase: QueuePhase, unsent: Error) {
        let mut state = self.state.lock();
        // `Closed` is final: a connection that ends later must not reopen the queue.
        if state.phase != QueuePhase::Closed {
            state.phase = phase;
        }
        state.queue.clear();
        state.bytes = 0;
        self.metrics.class_bytes.set(0);
        let pending = std::mem::take(&mut state.pending);
        // Completed outside the lock, because a woken caller may enqueue its next request immediately.
        drop(state);
        for call in pending.into_values() {
            let error = if call.written { Error::Lost } else { unsent.clone() };
            drop(call.answer.send(Err(error)));
        }
    }

    fn enqueue(
        &self,
        kind: FrameKind,
        method: u16,
        body: Bytes,
        answer: Option<oneshot::Sender<CallResult>>,
    ) -> Result<u64, Error> {
        let mut state = self.state.lock();
        match state.phase {
            QueuePhase::Up => {}
            QueuePhase::Down => return Err(Error::Unreachable),
            QueuePhase::Closed => return Err(Error::Closed),
        }
        let id = state.next_id;
        let frame = TransportFrame {
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
        // Only after the checks: a refused request leaves no trace in the queue.
        state.next_id += 1;
        state.bytes += size;
        self.metrics.class_bytes.set(state.bytes as i64);
        if let Some(answer) = answer {
            state.pending.insert(
                id,
                PendingCall {
                    answer,
                    size,
                    written: false,
                },
            );
        }
        // The writer waits only on an empty queue.
        let idle = state.queue.is_empty();
        state.queue.push_back((Instant::now(), frame));
        drop(state);
        if idle {
            self.wake.notify_one();
        }
        Ok(id)
    }

    /// Removes a pending call. Returns true if it was written, `None` if it is already complete. An unwritten call is
    /// never written afterwards.
    fn withdraw(&self, id: u64) -> Option<bool> {
        let mut state = self.state.lock();
        let pending = state.pending.remove(&id)?;
        // The frame of an unwritten call stays in the queue; `take` drops it and releases its bytes.
        if pending.written {
            state.release(pending.size, &self.metrics);
        }
        Some(pending.written)
    }
}

impl FrameSink for OutgoingQueue {
    fn receive(&self, frame: TransportFrame) -> Result<(), CloseCause> {
        let TransportFrame { kind, id, body, .. } = frame;
        match kind {
            FrameKind::Response => self.answered(id, Ok(body)),
            FrameKind::Refusal => self.answered(id, Err(Error::Refused(body))),
            FrameKind::NoResponse => self.answered(id, Err(Error::Lost)),
            FrameKind::Pong => {}
            // Requests on the dialling side violate the protocol.
            _ => return Err(CloseCause::Unexpected),
        }
        Ok(())
    }
}

impl FrameSource for OutgoingQueue {
    fn take(&self, frames: &mut Vec<TransportFrame>, limit: usize) -> usize {
        let mut state = self.state.lock();
        let (mut taken, mut release, mut withdrawn) = (0, 0, 0);
        let mut oldest = None;
        while taken < limit
            && let Some((queued, frame)) = state.queue.pop_front()
        {
            let size = frame.size();
            if frame.kind == FrameKind::Call {
                match state.pending.get_mut(&frame.id) {
                    // Marked before the write: if the write fails, the peer may have received the frame all the same.
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
            // A ping is ahead of older frames, and is not what waits.
            if frame.kind != FrameKind::Ping {
                oldest.get_or_insert(queued);
            }
            frames.push(frame);
        }
        if let Some(oldest) = oldest {
            self.metrics.queue_seconds.observe(oldest.elapsed().as_secs_f64());
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

// === impl OutgoingQueueState ===

impl OutgoingQueueState {
    fn release(&mut self, bytes: usize, metrics: &ClassMetrics) {
        // A connection that broke meanwhile has already reset the count to zero.
        self.bytes = self.bytes.saturating_sub(bytes);
        metrics.class_bytes.set(self.bytes as i64);
    }
}

// === impl CallFuture ===

impl CallFuture {
    async fn answer(mut self, expires: Instant) -> CallResult {
        match timeout_at(expires, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            // The queue completes every call that it drops, so this is the end of the queue itself; the outcome is
            // unknown.
            Ok(Err(_)) => Err(Error::Lost),
            Err(_) => match self.queue.withdraw(self.id) {
                Some(true) => Err(Error::Timeout),
                Some(false) => Err(Error::Unreachable),
                // The response arrived between the timeout and the withdrawal.
                None => self.answer.try_recv().unwrap_or(Err(Error::Timeout)),
            },
        }
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        self.queue.withdraw(self.id);
    }
}

#[cfg(test)]
mod tests;
