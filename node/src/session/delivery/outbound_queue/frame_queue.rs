//! Frames of one connection that wait for its writer: responses and events in one order, with their fill levels. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// Waiting frames. Bounded by the [outbound queue](super::OutboundQueue), which knows the limits.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    frames: VecDeque<QueuedFrame>,
    /// Fill level of the live events; replayed ones are not counted.
    events: FillLevel,
    answers: FillLevel,
}

#[derive(Debug)]
pub(super) enum QueuedFrame {
    Response(Bytes),
    Event {
        n: u64,
        tail: Bytes,
        /// False for a replayed event, which does not count against the bounds.
        live: bool,
    },
}

/// Number and bytes of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FillLevel {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

// === impl FrameQueue ===

impl FrameQueue {
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the fill level of the live events.
    pub(super) fn events(&self) -> FillLevel {
        self.events
    }

    /// Returns the fill level of the responses.
    pub(super) fn answers(&self) -> FillLevel {
        self.answers
    }

    /// Returns the number of the first event.
    pub(super) fn first_event(&self) -> Option<u64> {
        self.frames.iter().find_map(|waiting| match waiting {
            QueuedFrame::Event { n, .. } => Some(*n),
            QueuedFrame::Response(_) => None,
        })
    }

    pub(super) fn push_answer(&mut self, body: Bytes) {
        self.answers.add(body.len());
        self.frames.push_back(QueuedFrame::Response(body));
    }

    pub(super) fn push_event(&mut self, n: u64, tail: Bytes, live: bool) {
        if live {
            self.events.add(tail.len());
        }
        self.frames.push_back(QueuedFrame::Event { n, tail, live });
    }

    /// Removes the next frame to write. Responses pass events that the framing withholds: behind a full window of
    /// events, the responses that open it would never be written.
    pub(super) fn pop(&mut self, takes_event: bool) -> Option<QueuedFrame> {
        let frame = if takes_event {
            self.frames.pop_front()?
        } else {
            let is_answer = |frame: &QueuedFrame| matches!(frame, QueuedFrame::Response(_));
            let at = self.frames.iter().position(is_answer)?;
            self.frames.remove(at)?
        };
        match &frame {
            QueuedFrame::Response(body) => self.answers.remove(body.len()),
            QueuedFrame::Event { tail, live: true, .. } => self.events.remove(tail.len()),
            QueuedFrame::Event { .. } => {}
        }
        Some(frame)
    }

    pub(super) fn clear(&mut self) {
        *self = FrameQueue::default();
    }

    /// Removes the events. The responses stay.
    pub(super) fn clear_events(&mut self) {
        self.frames
            .retain(|waiting| matches!(waiting, QueuedFrame::Response(_)));
        self.events = FillLevel::default();
    }

    /// Removes the responses. The events stay.
    pub(super) fn clear_answers(&mut self) {
        self.frames
            .retain(|waiting| matches!(waiting, QueuedFrame::Event { .. }));
        self.answers = FillLevel::default();
    }
}

// === impl FillLevel ===

impl FillLevel {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.frames -= 1;
        self.bytes -= bytes;
    }
}
