//! One conversation as one client has it: how far it was applied, what came too early, and which of the client's
//! own messages wait for an answer. Pure: takes what happened, says what to do.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::clock::{Nanos, SECOND};
use crate::oracle::{ConvIx, Seen, Since};
use crate::payload::Ordinal;

/// A conversation in which the client takes part.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: Rc<str>,
    pub(crate) conv: ConvIx,
    /// The last `s` that was applied; `None` until `open` has told where the view begins.
    pub(crate) cursor: Option<u64>,
    /// The session's live stream covers everything above the cursor: a hole from now on is the node's fault.
    pub(crate) live: bool,
    /// The client was removed: nothing from there may reach it any more.
    pub(crate) out: bool,
    /// When the view began, and whether the conversation was in an inbox that was listed to its end.
    pub(crate) joined_at: Nanos,
    pub(crate) listed: bool,
    /// A page of history is on its way.
    pub(crate) filling: bool,
    /// Where the last `sync` answer ended.
    as_of: u64,
    held: BTreeMap<u64, Seen>,
    /// The live stream since it was interrupted.
    stream: Stream,
    pending: VecDeque<Pending>,
    in_flight: usize,
    refused: usize,
    queued: usize,
    retry_at: Nanos,
    /// The last messages: where they are, and whether they are the client's own.
    recent: VecDeque<(u64, bool)>,
    /// Up to where the node was told, and has agreed, that the client has read.
    pub(crate) read: u64,
}

/// How many messages are near enough to be edited, deleted or reacted to.
const RECENT: usize = 16;

/// What has come live since the stream was interrupted: an answer tells up to where the events of the time before may be
/// missing, and nothing may be missing above.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    last: u64,
    /// The highest place that was passed over.
    missing: u64,
}

/// The inbox learns of a membership a moment later, and while shards have no owner much later.
const INBOX: Nanos = 30 * SECOND;

/// One of the client's own messages, until it is answered.
#[derive(Clone, Copy, Debug)]
struct Pending {
    ordinal: Ordinal,
    due: Nanos,
    stage: Stage,
    /// What had been acknowledged when it was sent for the first time.
    since: Since,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Queued,
    InFlight,
    /// Temporarily refused, or of unknown outcome: the same client id must come again, in order.
    Refused,
    Done,
}

/// What to do with an event by the client rule.
#[derive(Debug, PartialEq)]
pub(crate) enum Rule {
    /// It is the next one.
    Apply,
    /// It was applied before.
    Ignore,
    /// Something below is missing; it was kept for later.
    Held,
}

// === impl Place ===

impl Place {
    pub(crate) fn new(name: &str, conv: ConvIx) -> Place {
        Place {
            name: name.into(),
            conv,
            cursor: None,
            live: false,
            out: false,
            joined_at: 0,
            listed: false,
            filling: false,
            as_of: 0,
            held: BTreeMap::new(),
            stream: Stream::default(),
            pending: VecDeque::new(),
            in_flight: 0,
            refused: 0,
            queued: 0,
            retry_at: 0,
            recent: VecDeque::new(),
            read: 0,
        }
    }

    // --- receiving ---

    /// Remembers a message that was applied.
    pub(crate) fn remember(&mut self, s: u64, own: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((s, own));
    }

    /// Forgets a message that was deleted.
    pub(crate) fn forget(&mut self, s: u64) {
        self.recent.retain(|(recent, _)| *recent != s);
    }

    /// The last messages: all of them, or the client's own.
    pub(crate) fn recent(&self, own: bool) -> impl Iterator<Item = u64> {
        let fits = self.recent.iter().filter(move |(_, mine)| *mine || !own);
        fits.map(|(s, _)| *s)
    }

    /// Whether an inbox that is listed at `now` has to name it: it did before, or had time enough to learn of it.
    pub(crate) fn is_certain(&self, now: Nanos) -> bool {
        self.listed || (self.cursor.is_some() && self.joined_at + INBOX <= now)
    }

    /// Nothing is missing as far as the client can know.
    pub(crate) fn is_level(&self) -> bool {
        self.live || self.out || self.cursor.is_none()
    }

    /// The client rule: apply if `s` is one above the last, hold if greater, ignore if not greater.
    pub(crate) fn rule(&mut self, seen: &Seen) -> Rule {
        match self.cursor {
            Some(cursor) if seen.s <= cursor => Rule::Ignore,
            Some(cursor) if seen.s == cursor + 1 => {
                self.cursor = Some(seen.s);
                Rule::Apply
            }
            _ => {
                self.held.insert(seen.s, seen.clone());
                Rule::Held
            }
        }
    }

    /// The next held event whose turn has come.
    pub(crate) fn next_held(&mut self) -> Option<Seen> {
        let cursor = self.cursor?;
        self.held = match self.held.first_key_value() {
            Some((s, _)) if *s <= cursor => self.held.split_off(&(cursor + 1)),
            _ => return self.take_held(cursor),
        };
        self.take_held(cursor)
    }

    fn take_held(&mut self, cursor: u64) -> Option<Seen> {
        let seen = self.held.remove(&(cursor + 1))?;
        self.cursor = Some(seen.s);
        Some(seen)
    }

    /// The view begins right above `last`.
    pub(crate) fn opened(&mut self, last: u64) -> Option<u64> {
        self.cursor.get_or_insert(last);
        self.synced(last)
    }

    /// A `sync` told that it holds everything up to `as_of`. Returns a place above it that is missing in the live stream.
    pub(crate) fn synced(&mut self, as_of: u64) -> Option<u64> {
        self.as_of = self.as_of.max(as_of);
        self.settle();
        self.missing()
    }

    /// An event came live. Returns a place above the answer that is missing below it.
    pub(crate) fn streamed(&mut self, s: u64) -> Option<u64> {
        let last = self.stream.last.max(self.as_of);
        // What came before the first event and before the answer isn't known to be missing yet.
        if s > last + 1 {
            self.stream.missing = s - 1;
        }
        self.stream.last = s.max(self.stream.last);
        self.missing()
    }

    /// An interruption excuses what lies up to its answer, and nothing above.
    fn missing(&self) -> Option<u64> {
        let missing = self.stream.missing;
        (self.as_of > 0 && missing > self.as_of && !self.live).then_some(missing)
    }

    /// What the client lacks up to `to` is gone.
    pub(crate) fn pass_over(&mut self, to: u64) {
        self.cursor = self.cursor.max(Some(to));
        self.settle();
    }

    /// The client is no member any more.
    pub(crate) fn removed(&mut self) {
        self.out = true;
        self.held.clear();
    }

    /// The stream becomes live once it is applied up to where the answer ended. Call it after each application.
    pub(crate) fn settle(&mut self) {
        self.live |= self.as_of > 0 && self.cursor >= Some(self.as_of) && self.held.is_empty();
    }

    /// The live stream ended, or the node said `resync`.
    pub(crate) fn interrupted(&mut self) {
        self.live = false;
        self.stream = Stream::default();
        self.as_of = 0;
        self.filling = false;
    }

    /// The node said that what is up to `last` did not come live. What is above may, and then without a hole.
    pub(crate) fn fell_behind(&mut self, last: u64) {
        if self.cursor.is_some_and(|cursor| cursor < last) {
            self.live = false;
            self.as_of = self.as_of.max(last);
            self.stream.last = self.stream.last.max(last);
        }
    }

    /// Tells whether a page of history is needed: something is held, or the answer lies ahead, and nothing is on its way.
    pub(crate) fn needs_page(&self) -> Option<u64> {
        let behind = !self.held.is_empty() || Some(self.as_of) > self.cursor;
        (behind && self.as_of > 0 && !self.filling && !self.out)
            .then_some(self.cursor)
            .flatten()
    }

    // --- sending ---

    /// A new message, due at `due`.
    pub(crate) fn offer(&mut self, ordinal: Ordinal, due: Nanos) {
        self.queued += 1;
        self.pending.push_back(Pending {
            ordinal,
            due,
            stage: Stage::Queued,
            since: Since::default(),
        });
    }

    /// Tells whether [`Place::send_due`] may have something.
    pub(crate) fn has_work(&self) -> bool {
        self.queued + self.refused > 0
    }

    /// When refused messages are to be sent again, unless an answer has to come first.
    pub(crate) fn retry_at(&self) -> Option<Nanos> {
        (self.refused > 0 && self.in_flight == 0).then_some(self.retry_at)
    }

    /// The messages to be sent now, in order, as (ordinal, due). A sender's order must survive its retries: while
    /// anything is refused, nothing goes out until everything that is in flight is answered. A refusal of a later
    /// message may still be on its way, and what were sent in the meantime would overtake it.
    pub(crate) fn send_due(&mut self, now: Nanos, since: Since, mut send: impl FnMut(Ordinal, Nanos)) {
        let from = match self.refused {
            0 => self.pending.len() - self.queued,
            _ if now < self.retry_at || self.in_flight > 0 => return,
            _ => 0,
        };
        for pending in self
            .pending
            .range_mut(from..)
            .filter(|pending| pending.stage != Stage::Done)
        {
            if pending.stage == Stage::Queued {
                pending.since = since;
            }
            pending.stage = Stage::InFlight;
            self.in_flight += 1;
            send(pending.ordinal, pending.due);
        }
        (self.queued, self.refused) = (0, 0);
    }

    /// The message has its final answer. Returns when it was due, and what had been acknowledged before it was sent, or
    /// `None` if it waits for no answer.
    pub(crate) fn answered(&mut self, ordinal: Ordinal) -> Option<(Nanos, Since)> {
        let pending = self
            .find(ordinal)
            .filter(|pending| pending.stage == Stage::InFlight)?;
        pending.stage = Stage::Done;
        let answered = (pending.due, pending.since);
        self.in_flight -= 1;
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.stage == Stage::Done)
        {
            self.pending.pop_front();
        }
        Some(answered)
    }

    /// The message is to be sent again at `retry_at`. Returns whether it waited for an answer.
    pub(crate) fn refused(&mut self, ordinal: Ordinal, retry_at: Nanos) -> bool {
        let Some(pending) = self
            .find(ordinal)
            .filter(|pending| pending.stage == Stage::InFlight)
        else {
            return false;
        };
        pending.stage = Stage::Refused;
        self.retry_at = if self.refused == 0 {
            retry_at
        } else {
            self.retry_at.max(retry_at)
        };
        self.refused += 1;
        self.in_flight -= 1;
        true
    }

    /// The connection is gone: what was in flight has an unknown outcome and goes out again, oldest first.
    pub(crate) fn disconnected(&mut self) -> usize {
        let mut again = 0;
        for pending in &mut self.pending {
            if pending.stage == Stage::InFlight {
                pending.stage = Stage::Refused;
                self.refused += 1;
                again += 1;
            }
        }
        self.in_flight = 0;
        self.retry_at = 0;
        again
    }

    /// Messages without a final answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.pending
            .iter()
            .filter(|pending| pending.stage != Stage::Done)
            .count()
    }

    /// As [`Place::unanswered`], in constant time and never too small.
    pub(crate) fn backlog(&self) -> usize {
        self.pending.len()
    }

    fn find(&mut self, ordinal: Ordinal) -> Option<&mut Pending> {
        let first = self.pending.front()?.ordinal;
        self.pending.get_mut(ordinal.checked_sub(first)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(s: u64) -> Seen {
        Seen {
            s,
            digest: s,
            ts: 0,
            mn: None,
            tag: None,
            due: 0,
            member: None,
            body: s,
            deleted: false,
            change: None,
        }
    }

    fn sent(place: &mut Place, now: Nanos) -> Vec<Ordinal> {
        let mut out = Vec::new();
        place.send_due(now, Since::default(), |ordinal, _| out.push(ordinal));
        out
    }

    fn sender(messages: Ordinal) -> Place {
        let mut place = Place::new("g_1", 0);
        (1..=messages).for_each(|ordinal| place.offer(ordinal, 0));
        place
    }

    #[test]
    fn events_are_applied_in_order_whatever_order_they_come_in() {
        let mut place = Place::new("g_1", 0);
        place.opened(4);
        assert!(place.live);
        let rules: Vec<_> = [7, 4, 5, 7].into_iter().map(|s| place.rule(&seen(s))).collect();
        assert_eq!(rules, [Rule::Held, Rule::Ignore, Rule::Apply, Rule::Held]);
        assert_eq!(place.needs_page(), Some(5));
        assert_eq!(place.next_held(), None);
        assert_eq!(place.rule(&seen(6)), Rule::Apply);
        assert_eq!(place.next_held().map(|seen| seen.s), Some(7));
        assert_eq!(
            (place.next_held(), place.cursor, place.needs_page()),
            (None, Some(7), None)
        );
    }

    #[test]
    fn a_stream_is_live_only_when_it_is_applied_up_to_the_answer() {
        let mut place = Place::new("g_1", 0);
        place.opened(4);
        place.interrupted();
        assert_eq!(place.rule(&seen(9)), Rule::Held);
        assert_eq!(place.needs_page(), None, "the answer to sync comes first");
        place.synced(8);
        assert!(!place.live);
        assert_eq!(place.needs_page(), Some(4));
        for s in 5..=8 {
            assert_eq!(place.rule(&seen(s)), Rule::Apply);
        }
        while place.next_held().is_some() {}
        place.settle();
        assert!(place.live);
        assert_eq!(place.cursor, Some(9));
    }

    #[test]
    fn what_did_not_come_live_is_read_and_what_comes_above_has_no_hole() {
        let mut place = Place::new("g_1", 0);
        place.opened(4);
        place.fell_behind(4);
        assert!(place.live, "the client has it");
        place.fell_behind(7);
        assert_eq!((place.live, place.needs_page()), (false, Some(4)));
        assert_eq!((place.streamed(8), place.streamed(10)), (None, Some(9)));
    }

    #[test]
    fn an_interruption_excuses_what_lies_up_to_its_answer_and_nothing_above() {
        let interrupted = || {
            let mut place = Place::new("g_1", 0);
            place.opened(4);
            place.interrupted();
            place
        };
        let mut place = interrupted();
        assert_eq!((place.streamed(7), place.streamed(8)), (None, None));
        assert_eq!(place.synced(6), None, "5 and 6 are in the answer");
        assert_eq!(place.streamed(9), None);
        assert_eq!(place.streamed(11), Some(10));

        let mut place = interrupted();
        assert_eq!((place.streamed(7), place.streamed(9)), (None, None));
        assert_eq!(place.synced(6), Some(8), "missing above the answer");

        let mut place = interrupted();
        assert_eq!(place.streamed(9), None);
        assert_eq!(place.synced(6), Some(8), "7 never came");

        let mut place = interrupted();
        assert_eq!(place.synced(6), None);
        assert_eq!(place.streamed(6), None, "in both");
        assert_eq!(place.streamed(8), Some(7));
    }

    #[test]
    fn a_refusal_holds_back_everything_newer() {
        let mut place = sender(3);
        assert_eq!(sent(&mut place, 0), [1, 2, 3]);
        assert!(place.answered(1).is_some());
        assert!(place.refused(2, 50));
        place.offer(4, 0);
        assert_eq!(
            sent(&mut place, 60),
            [0; 0],
            "3 is unanswered: its refusal may be on its way"
        );
        assert!(place.refused(3, 70));
        assert_eq!(sent(&mut place, 60), [0; 0], "before its time");
        assert_eq!(sent(&mut place, 70), [2, 3, 4]);
        place.offer(5, 0);
        assert_eq!(sent(&mut place, 70), [5]);
        assert_eq!(place.unanswered(), 4);
    }

    #[test]
    fn a_lost_connection_repeats_what_was_unanswered_and_nothing_else() {
        let mut place = sender(4);
        assert_eq!(sent(&mut place, 0), [1, 2, 3, 4]);
        assert!(place.answered(2).is_some());
        assert_eq!(place.disconnected(), 3);
        place.offer(5, 0);
        assert_eq!(sent(&mut place, 0), [1, 3, 4, 5]);
        assert!(place.answered(2).is_none(), "a second answer is unsolicited");
        for ordinal in [1, 3, 4, 5] {
            assert!(place.answered(ordinal).is_some());
        }
        assert_eq!((place.unanswered(), place.has_work()), (0, false));
    }
}
