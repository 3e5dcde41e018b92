//! One conversation's events in order: what arrived early waits, what arrived twice is dropped, what is missing is
//! named.
//!
//! Pure. Used twice: by the node's relay (events of the owner, of a registration's answer and of a range that was
//! pulled come in any order) and by each worker's hub (events that an overflow dropped are pulled again).

use std::collections::BTreeMap;

/// Events that wait for an earlier one; more are dropped, for they can be read again.
pub(crate) const MAX_HELD: usize = 256;

/// What to do after an event was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing is missing.
    Nothing,
    /// Read the events after this one, up to what is held: they are missing, and nobody was told yet.
    Pull {
        /// The last event in order.
        after: u64,
    },
}

/// The order of one conversation.
#[derive(Debug)]
pub(crate) struct Order<T> {
    /// `None` until the first position is known: everything waits.
    last: Option<u64>,
    held: BTreeMap<u64, T>,
    pulling: bool,
    /// Something was lost while a range was under way, which may have been read before.
    again: bool,
}

// === impl Order ===

impl<T> Order<T> {
    /// An order that continues behind `last`, or waits for [`Order::start`].
    pub(crate) fn new(last: Option<u64>) -> Order<T> {
        Order {
            last,
            held: BTreeMap::new(),
            pulling: false,
            again: false,
        }
    }

    /// The last event that was handed out; `None` before the first position is known.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Sets the first position, unless there is one.
    pub(crate) fn start(&mut self, last: u64, out: impl FnMut(T)) -> Next {
        if self.last.is_none() {
            self.last = Some(last);
            self.release(out);
        }
        self.missing()
    }

    /// Offers an event: hands it to `out`, with all that waited for it, or keeps it, or drops it as known.
    pub(crate) fn offer(&mut self, seq: u64, event: T, mut out: impl FnMut(T)) -> Next {
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
                    // The newest is the one that a pull reaches last.
                    self.held.pop_last();
                }
            }
        }
        self.missing()
    }

    /// Nothing before `next` is to be had any more: goes on with it, unless it is further already.
    pub(crate) fn skip_to(&mut self, next: u64, out: impl FnMut(T)) {
        if self.last.is_some_and(|last| last + 1 < next) {
            self.last = Some(next - 1);
            self.release(out);
        }
    }

    /// A range that was asked for has come in full (its events were offered), or will not come. Names what is still
    /// missing.
    pub(crate) fn pulled(&mut self) -> Next {
        self.pulling = false;
        if std::mem::take(&mut self.again) {
            self.suspect()
        } else {
            self.missing()
        }
    }

    /// Something may be missing behind the last event although nothing is held: asks for a range, now or when the one
    /// under way has come.
    pub(crate) fn suspect(&mut self) -> Next {
        match self.last {
            Some(_) if self.pulling => {
                self.again = true;
                Next::Nothing
            }
            Some(after) => {
                self.pulling = true;
                Next::Pull { after }
            }
            None => Next::Nothing,
        }
    }

    fn missing(&mut self) -> Next {
        if self.held.is_empty() || self.pulling {
            Next::Nothing
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
        let mut order = Order::new(None);
        let mut out = Vec::new();
        assert_eq!(order.offer(5, 5, |e| out.push(e)), Next::Nothing);
        assert_eq!(order.offer(4, 4, |e| out.push(e)), Next::Nothing);
        assert_eq!(order.start(4, |e| out.push(e)), Next::Nothing);
        assert_eq!(out, [5]);
    }

    #[test]
    fn a_hole_is_pulled_once() {
        let mut order = Order::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(order.offer(4, 4, |e| out.push(e)), Next::Pull { after: 1 });
        assert_eq!(order.offer(5, 5, |e| out.push(e)), Next::Nothing);
        assert_eq!(order.offer(2, 2, |e| out.push(e)), Next::Nothing);
        assert_eq!(order.offer(3, 3, |e| out.push(e)), Next::Nothing);
        assert_eq!(order.pulled(), Next::Nothing);
        assert_eq!(out, [2, 3, 4, 5]);
    }

    #[test]
    fn a_loss_during_a_pull_is_pulled_afterwards() {
        let mut order = Order::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(order.suspect(), Next::Pull { after: 1 });
        assert_eq!(order.suspect(), Next::Nothing);
        order.offer(2, 2, |e| out.push(e));
        assert_eq!(order.pulled(), Next::Pull { after: 2 });
        assert_eq!(order.pulled(), Next::Nothing);
    }

    #[test]
    fn what_is_gone_is_skipped_and_never_waited_for() {
        let mut order = Order::new(Some(1));
        let mut out = Vec::new();
        assert_eq!(order.offer(8, 8, |e| out.push(e)), Next::Pull { after: 1 });
        order.skip_to(6, |e| out.push(e));
        order.offer(6, 6, |e| out.push(e));
        order.offer(7, 7, |e| out.push(e));
        assert_eq!((order.pulled(), &out[..]), (Next::Nothing, &[6, 7, 8][..]));
        // It never goes back, and means nothing before there is a position.
        order.skip_to(3, |e| out.push(e));
        assert_eq!(order.last(), Some(8));
        let mut waiting = Order::new(None);
        waiting.skip_to(5, |e: i32| out.push(e));
        assert_eq!(waiting.last(), None);
    }

    proptest! {
        /// Deliveries lost, repeated and reordered, with pulls in between: no event twice, none left out.
        #[test]
        fn no_interleaving_skips_or_repeats(
            start in 0u64..20,
            arrivals in prop::collection::vec((0u64..400, any::<bool>()), 0..600),
        ) {
            let mut order = Order::new(None);
            let mut out = Vec::new();
            let mut top = start;
            let mut asked = None;
            for (jump, answer) in arrivals {
                // A delivery: mostly the next one, sometimes an old one or one far ahead.
                let seq = if jump < 300 { top + 1 } else { (top + jump % 7).saturating_sub(3).max(1) };
                top = top.max(seq);
                if let Next::Pull { after } = order.offer(seq, seq, |e| out.push(e)) {
                    prop_assert!(asked.is_none(), "asked twice");
                    asked = Some(after);
                }
                if order.last().is_none() && answer
                    && let Next::Pull { after } = order.start(start, |e| out.push(e))
                {
                    asked = Some(after);
                }
                if answer && let Some(after) = asked.take() {
                    // The range is cut short, as a page is.
                    for seq in after + 1..=top.min(after + 5) { order.offer(seq, seq, |e| out.push(e)); }
                    if let Next::Pull { after } = order.pulled() { asked = Some(after); }
                }
            }
            if let Next::Pull { after } = order.start(start, |e| out.push(e)) {
                asked = Some(after);
            }
            let Next::Pull { after } = (match asked { Some(after) => Next::Pull { after }, None => order.suspect() }) else {
                return Err(TestCaseError::fail("an order with a position can be asked for more"));
            };
            for seq in after + 1..=top { order.offer(seq, seq, |e| out.push(e)); }
            let expected: Vec<u64> = (start + 1..=top).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
