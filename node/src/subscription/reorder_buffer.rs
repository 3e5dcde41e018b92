//! Reorder buffer of one conversation: buffers early events, drops duplicates and reports missing ones.
//!
//! Pure. Used twice. The manager orders deliveries of the owner, events of a registration's response, and ranges. The
//! hub of each worker orders live events and ranges that were read after an overflow.

use std::collections::BTreeMap;

/// Maximum number of buffered events; more are dropped, because they can be read again.
pub(crate) const MAX_HELD: usize = 256;

/// Action after an event was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReorderResult {
    Nothing,
    /// Events behind this one are missing and not requested yet: read them, up to the buffered ones.
    Pull {
        /// Seq of the last event in order.
        after: u64,
    },
}

/// Order of the events of one conversation.
#[derive(Debug)]
pub(crate) struct ReorderBuffer<T> {
    /// `None` until the first position is known: all events are buffered.
    last: Option<u64>,
    held: BTreeMap<u64, T>,
    pulling: bool,
    /// Events were lost while a range was under way, which may have been read before.
    again: bool,
}

// === impl ReorderBuffer ===

impl<T> ReorderBuffer<T> {
    /// Creates a buffer that continues behind `last`, or waits for `start`.
    pub(crate) fn new(last: Option<u64>) -> ReorderBuffer<T> {
        ReorderBuffer {
            last,
            held: BTreeMap::new(),
            pulling: false,
            again: false,
        }
    }

    /// Seq of the last event in order; `None` before the first position is known.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Sets the first position, unless there is one.
    pub(crate) fn start(&mut self, last: u64, out: impl FnMut(T)) -> ReorderResult {
        if self.last.is_none() {
            self.last = Some(last);
            self.release(out);
        }
        self.missing()
    }

    /// Offers an event. It is passed to `out` with those that waited for it, or buffered, or dropped as a duplicate.
    pub(crate) fn offer(&mut self, seq: u64, event: T, mut out: impl FnMut(T)) -> ReorderResult {
        match self.last {
            Some(last) if seq <= last => {}
            Some(last) if seq == last + 1 => {
                self.last = Some(seq);
                out(event);
                if !self.held.is_empty() {
                    self.release(out);
                }
            }
            _ => {
                self.held.insert(seq, event);
                if self.held.len() > MAX_HELD {
                    // The newest one, which a range reaches last.
                    self.held.pop_last();
                }
            }
        }
        self.missing()
    }

    /// Continues with `next`, unless it is further already: no event before that is available any more.
    pub(crate) fn skip_to(&mut self, next: u64, out: impl FnMut(T)) {
        if self.last.is_some_and(|last| last + 1 < next) {
            self.last = Some(next - 1);
            self.release(out);
        }
    }

    /// Ends the read of a range, whose events were offered before, or which failed. Reports what is still missing.
    pub(crate) fn pulled(&mut self) -> ReorderResult {
        self.pulling = false;
        if std::mem::take(&mut self.again) {
            self.suspect()
        } else {
            self.missing()
        }
    }

    /// Requests a range although nothing is buffered, because events behind the last one may be missing. If a range is
    /// under way, the request is deferred to its end.
    pub(crate) fn suspect(&mut self) -> ReorderResult {
        match self.last {
            // The range under way may have been read before the loss.
            Some(_) if self.pulling => {
                self.again = true;
                ReorderResult::Nothing
            }
            Some(after) => {
                self.pulling = true;
                ReorderResult::Pull { after }
            }
            None => ReorderResult::Nothing,
        }
    }

    fn missing(&mut self) -> ReorderResult {
        // One range at a time: a second one would read the same events.
        if self.held.is_empty() || self.pulling {
            ReorderResult::Nothing
        } else {
            self.suspect()
        }
    }

    fn release(&mut self, mut out: impl FnMut(T)) {
        let Some(mut last) = self.last else { return };
        while let Some(first) = self.held.first_entry() {
            if *first.key() > last + 1 {
                break;
            }
            let (seq, event) = first.remove_entry();
            // Older entries are duplicates of events that arrived in order.
            if seq == last + 1 {
                last = seq;
                out(event);
            }
        }
        self.last = Some(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_before_the_first_position_wait_for_it() {
        let mut order = ReorderBuffer::new(None);
        let mut out = Vec::new();
        assert_eq!(order.offer(5, 5, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(order.offer(4, 4, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(order.start(4, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(out, [5]);
    }

    #[test]
    fn a_hole_is_pulled_once() {
        let mut order = ReorderBuffer::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(
            order.offer(4, 4, |e| out.push(e)),
            ReorderResult::Pull { after: 1 }
        );
        assert_eq!(order.offer(5, 5, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(order.offer(2, 2, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(order.offer(3, 3, |e| out.push(e)), ReorderResult::Nothing);
        assert_eq!(order.pulled(), ReorderResult::Nothing);
        assert_eq!(out, [2, 3, 4, 5]);
    }

    #[test]
    fn a_loss_during_a_pull_is_pulled_afterwards() {
        let mut order = ReorderBuffer::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(order.suspect(), ReorderResult::Pull { after: 1 });
        assert_eq!(order.suspect(), ReorderResult::Nothing);
        order.offer(2, 2, |e| out.push(e));
        assert_eq!(order.pulled(), ReorderResult::Pull { after: 2 });
        assert_eq!(order.pulled(), ReorderResult::Nothing);
    }

    #[test]
    fn what_is_gone_is_skipped_and_never_waited_for() {
        let mut order = ReorderBuffer::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(
            order.offer(8, 8, |e| out.push(e)),
            ReorderResult::Pull { after: 1 }
        );
        order.skip_to(6, |e| out.push(e));
        order.offer(6, 6, |e| out.push(e));
        order.offer(7, 7, |e| out.push(e));
        assert_eq!(
            (order.pulled(), &out[..]),
            (ReorderResult::Nothing, &[6, 7, 8][..])
        );
        // It never moves back, and has no effect without a position.
        order.skip_to(3, |e| out.push(e));
        assert_eq!(order.last(), Some(8));
        let mut waiting = ReorderBuffer::new(None);
        waiting.skip_to(5, |e: i32| out.push(e));
        assert_eq!(waiting.last(), None);
    }

    proptest! {
        /// Deliveries lost, repeated and reordered, with pulls in between: no event twice, none left out.
        #[test]
        fn no_interleaving_skips_or_repeats(
            start in 0u64..20,
            positions in prop::collection::vec((0u64..400, any::<bool>()), 0..600),
        ) {
            let mut order = ReorderBuffer::new(None);
            let mut out = Vec::new();
            let mut top = start;
            let mut asked = None;
            for (jump, answer) in positions {
                // A delivery: mostly the next one, sometimes an old one or one far ahead.
                let seq = if jump < 300 { top + 1 } else { (top + jump % 7).saturating_sub(3).max(1) };
                top = top.max(seq);
                if let ReorderResult::Pull { after } = order.offer(seq, seq, |e| out.push(e)) {
                    prop_assert!(asked.is_none(), "asked twice");
                    asked = Some(after);
                }
                if order.last().is_none() && answer
                    && let ReorderResult::Pull { after } = order.start(start, |e| out.push(e))
                {
                    asked = Some(after);
                }
                if answer && let Some(after) = asked.take() {
                    // The range is cut short, as a page is.
                    for seq in after + 1..=top.min(after + 5) { order.offer(seq, seq, |e| out.push(e)); }
                    if let ReorderResult::Pull { after } = order.pulled() { asked = Some(after); }
                }
            }
            if let ReorderResult::Pull { after } = order.start(start, |e| out.push(e)) {
                asked = Some(after);
            }
            let ReorderResult::Pull { after } = (match asked { Some(after) => ReorderResult::Pull { after }, None => order.suspect() }) else {
                return Err(TestCaseError::fail("an order with a position can be asked for more"));
            };
            for seq in after + 1..=top { order.offer(seq, seq, |e| out.push(e)); }
            let expected: Vec<u64> = (start + 1..=top).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
