//! View that one client has of one conversation: its applied position, early events and the client's own unacknowledged
//! messages.
//!
//! Pure: methods record what happened and return the next action.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use protocol::ConversationId;

use crate::clock::{Nanos, SECOND};
use crate::oracle::{AcknowledgedSeqs, ConvIx, SeenEvent};
use crate::payload::Ordinal;

/// View of a conversation of the client.
#[derive(Debug)]
pub(crate) struct ConversationView {
    pub(crate) name: ConversationId,
    pub(crate) conv: ConvIx,
    /// Seq of the last applied event; `None` until the response to `open` has set the start of the view.
    pub(crate) cursor: Option<u64>,
    /// `true` while the session's stream covers everything above the cursor: a gap is then the node's fault.
    pub(crate) live: bool,
    /// `true` after the client's removal: no event of the conversation may reach it any more.
    pub(crate) out: bool,
    /// Time at which the view began. `listed` is `true` if a complete conversation list contained the conversation.
    pub(crate) joined_at: Nanos,
    pub(crate) listed: bool,
    /// `true` while a page of history is requested.
    pub(crate) filling: bool,
    /// Seq up to which the last `sync` response was complete; 0 after an interruption.
    as_of: u64,
    /// Events above a gap, by seq.
    held: BTreeMap<u64, SeenEvent>,
    stream: Stream,
    /// Own messages in order, without gaps in their ordinals, so that an ordinal is also an index.
    pending: VecDeque<PendingMessage>,
    in_flight: usize,
    refused: usize,
    queued: usize,
    retry_at: Nanos,
    /// Seqs of the last messages; `true` marks the client's own.
    recent: VecDeque<(u64, bool)>,
    /// Highest read position that the node has acknowledged.
    pub(crate) read: u64,
}

/// Number of recent messages that may be edited, deleted or reacted to.
const RECENT: usize = 16;

/// Positions of the live events since the interruption.
///
/// Up to the seq in the `sync` response, earlier events may be missing from the stream. Above it none may be missing.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    last: u64,
    /// Highest seq that the stream skipped.
    missing: u64,
}

/// Time after which a conversation must be in the list: the list follows a membership with a delay, which is long while
/// shards have no owner.
const INBOX: Nanos = 30 * SECOND;

/// One of the client's own messages, until its final response.
#[derive(Clone, Copy, Debug)]
struct PendingMessage {
    ordinal: Ordinal,
    due: Nanos,
    state: SendState,
    /// Acknowledged seqs at the time of the first send.
    since: AcknowledgedSeqs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SendState {
    Queued,
    InFlight,
    /// Refused for a moment, or of unknown outcome: it must be sent again with the same client message id, in order.
    Refused,
    Done,
}

/// Decision of the client rule about one event.
#[derive(Debug, PartialEq)]
pub(crate) enum EventDecision {
    /// The event is the next one.
    Apply,
    /// The event was applied before.
    Ignore,
    /// An earlier event is missing; this one is held until it arrives.
    Held,
}

// === impl ConversationView ===

impl ConversationView {
    pub(crate) fn new(name: ConversationId, conv: ConvIx) -> ConversationView {
        ConversationView {
            name,
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

    /// Adds an applied message to the recent ones.
    pub(crate) fn remember(&mut self, s: u64, own: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((s, own));
    }

    /// Removes a deleted message from the recent ones.
    pub(crate) fn forget(&mut self, s: u64) {
        self.recent.retain(|(recent, _)| *recent != s);
    }

    /// Returns the seqs of the recent messages: all of them, or the client's own.
    pub(crate) fn recent(&self, own: bool) -> impl Iterator<Item = u64> {
        let fits = self.recent.iter().filter(move |(_, mine)| *mine || !own);
        fits.map(|(s, _)| *s)
    }

    /// Returns `true` if a conversation list read at `now` must contain the conversation: it did before, or [`INBOX`]
    /// has passed.
    pub(crate) fn is_certain(&self, now: Nanos) -> bool {
        self.listed || (self.cursor.is_some() && self.joined_at + INBOX <= now)
    }

    /// Returns `true` if no event is missing, as far as the client can detect.
    pub(crate) fn is_level(&self) -> bool {
        self.live || self.out || self.cursor.is_none()
    }

    /// Applies the client rule: `s` one above the cursor is applied, a greater one is held, a smaller one is ignored.
    pub(crate) fn rule(&mut self, seen: &SeenEvent) -> EventDecision {
        match self.cursor {
            Some(cursor) if seen.s <= cursor => EventDecision::Ignore,
            Some(cursor) if seen.s == cursor + 1 => {
                self.cursor = Some(seen.s);
                EventDecision::Apply
            }
            // Also without a position: live events may arrive before the response to `open`.
            _ => {
                self.held.insert(seen.s, seen.clone());
                EventDecision::Held
            }
        }
    }

    /// Removes and returns the next held event if no gap is before it. Moves the cursor to it.
    pub(crate) fn next_held(&mut self) -> Option<SeenEvent> {
        let cursor = self.cursor?;
        self.held = match self.held.first_key_value() {
            // Events that history has delivered meanwhile are dropped, or they would keep the view from becoming live.
            Some((s, _)) if *s <= cursor => self.held.split_off(&(cursor + 1)),
            _ => return self.take_held(cursor),
        };
        self.take_held(cursor)
    }

    fn take_held(&mut self, cursor: u64) -> Option<SeenEvent> {
        let seen = self.held.remove(&(cursor + 1))?;
        self.cursor = Some(seen.s);
        Some(seen)
    }

    /// Starts the view right above `last`. Returns a missing seq, like [`ConversationView::synced`].
    pub(crate) fn opened(&mut self, last: u64) -> Option<u64> {
        // A repeated `open` must not move the cursor.
        self.cursor.get_or_insert(last);
        self.synced(last)
    }

    /// Records a `sync` response that is complete up to `as_of`. Returns a higher seq that the live stream lacks.
    pub(crate) fn synced(&mut self, as_of: u64) -> Option<u64> {
        // `max`: an `activity` event may already have raised it.
        self.as_of = self.as_of.max(as_of);
        self.complete();
        self.missing()
    }

    /// Records a live event. Returns a seq that the live stream lacks above the last response.
    pub(crate) fn streamed(&mut self, s: u64) -> Option<u64> {
        let last = self.stream.last.max(self.as_of);
        // Events before the first live one and before the response are not missing yet: the response may contain them.
        if s > last + 1 {
            self.stream.missing = s - 1;
        }
        self.stream.last = s.max(self.stream.last);
        self.missing()
    }

    /// Returns a seq that is missing above the response. An interruption excuses gaps up to the response alone.
    fn missing(&self) -> Option<u64> {
        let missing = self.stream.missing;
        (self.as_of > 0 && missing > self.as_of && !self.live).then_some(missing)
    }

    /// Moves the cursor to `to`: the missing events up to it no longer exist.
    pub(crate) fn pass_over(&mut self, to: u64) {
        self.cursor = self.cursor.max(Some(to));
        self.complete();
    }

    /// Records that the client is no longer a member.
    pub(crate) fn removed(&mut self) {
        self.out = true;
        // Held events are above the removal, and would be a violation if applied.
        self.held.clear();
    }

    /// Marks the stream as live once everything up to the response is applied. Must be called after each application.
    pub(crate) fn complete(&mut self) {
        // Never reset here: a held event in a live view is a gap, which the caller reports as a violation.
        self.live |= self.as_of > 0 && self.cursor >= Some(self.as_of) && self.held.is_empty();
    }

    /// Records the end of the live stream, by a disconnect or a `resync` event.
    pub(crate) fn interrupted(&mut self) {
        // Held events stay: the response to `sync` may connect to them.
        self.live = false;
        self.stream = Stream::default();
        self.as_of = 0;
        self.filling = false;
    }

    /// Records that events up to `last` were not delivered live. Those above it may be, without a gap.
    pub(crate) fn fell_behind(&mut self, last: u64) {
        // An announcement of applied events must not end the live state.
        if self.cursor.is_some_and(|cursor| cursor < last) {
            self.live = false;
            self.as_of = self.as_of.max(last);
            self.stream.last = self.stream.last.max(last);
        }
    }

    /// Returns the seq after which a page of history is needed; `None` if nothing is missing or a page is requested.
    pub(crate) fn needs_page(&self) -> Option<u64> {
        let behind = !self.held.is_empty() || Some(self.as_of) > self.cursor;
        (behind && self.as_of > 0 && !self.filling && !self.out)
            .then_some(self.cursor)
            .flatten()
    }

    // --- sending ---

    /// Queues a new message that is scheduled for `due`.
    pub(crate) fn offer(&mut self, ordinal: Ordinal, due: Nanos) {
        self.queued += 1;
        self.pending.push_back(PendingMessage {
            ordinal,
            due,
            state: SendState::Queued,
            since: AcknowledgedSeqs::default(),
        });
    }

    /// Returns `true` if [`ConversationView::send_due`] may have messages.
    pub(crate) fn has_work(&self) -> bool {
        self.queued + self.refused > 0
    }

    /// Returns the time at which refused messages are sent again; `None` if responses must arrive first.
    pub(crate) fn retry_at(&self) -> Option<Nanos> {
        (self.refused > 0 && self.in_flight == 0).then_some(self.retry_at)
    }

    /// Passes the messages to be sent now to `send`, in order, with ordinal and scheduled time.
    ///
    /// Retries must keep a sender's order. After a refusal nothing is sent until every message in flight is answered: a
    /// later one may be refused too, and newer messages would overtake it.
    pub(crate) fn send_due(
        &mut self,
        now: Nanos,
        since: AcknowledgedSeqs,
        mut send: impl FnMut(Ordinal, Nanos),
    ) {
        let from = match self.refused {
            0 => self.pending.len() - self.queued,
            _ if now < self.retry_at || self.in_flight > 0 => return,
            _ => 0,
        };
        for pending in self
            .pending
            .range_mut(from..)
            .filter(|pending| pending.state != SendState::Done)
        {
            // Set at the first send only: a retry may have been stored by the first attempt, before later
            // acknowledgements.
            if pending.state == SendState::Queued {
                pending.since = since;
            }
            pending.state = SendState::InFlight;
            self.in_flight += 1;
            send(pending.ordinal, pending.due);
        }
        (self.queued, self.refused) = (0, 0);
    }

    /// Records the final response to a message. Returns its scheduled time and the seqs acknowledged before its first
    /// send; `None` if it was not in flight.
    pub(crate) fn answered(&mut self, ordinal: Ordinal) -> Option<(Nanos, AcknowledgedSeqs)> {
        let pending = self
            .find(ordinal)
            .filter(|pending| pending.state == SendState::InFlight)?;
        pending.state = SendState::Done;
        let answered = (pending.due, pending.since);
        self.in_flight -= 1;
        // Only completed messages at the front are removed, so that `find` can index by ordinal.
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.state == SendState::Done)
        {
            self.pending.pop_front();
        }
        Some(answered)
    }

    /// Schedules the message to be sent again at `retry_at`. Returns `false` if it was not in flight.
    pub(crate) fn refused(&mut self, ordinal: Ordinal, retry_at: Nanos) -> bool {
        let Some(pending) = self
            .find(ordinal)
            .filter(|pending| pending.state == SendState::InFlight)
        else {
            return false;
        };
        pending.state = SendState::Refused;
        // A later refusal may only extend the delay, because all refused messages are sent together.
        self.retry_at = if self.refused == 0 {
            retry_at
        } else {
            self.retry_at.max(retry_at)
        };
        self.refused += 1;
        self.in_flight -= 1;
        true
    }

    /// Marks messages in flight for a new send, because their outcome is unknown. Returns their number.
    pub(crate) fn disconnected(&mut self) -> usize {
        let mut again = 0;
        for pending in &mut self.pending {
            if pending.state == SendState::InFlight {
                pending.state = SendState::Refused;
                self.refused += 1;
                again += 1;
            }
        }
        self.in_flight = 0;
        // No delay: the one of a refusal belonged to the old connection.
        self.retry_at = 0;
        again
    }

    /// Returns the number of messages without a final response.
    pub(crate) fn unanswered(&self) -> usize {
        self.pending
            .iter()
            .filter(|pending| pending.state != SendState::Done)
            .count()
    }

    /// Upper bound of [`ConversationView::unanswered`], in constant time.
    pub(crate) fn backlog(&self) -> usize {
        self.pending.len()
    }

    // Ordinals are consecutive, so a subtraction replaces a search.
    fn find(&mut self, ordinal: Ordinal) -> Option<&mut PendingMessage> {
        let first = self.pending.front()?.ordinal;
        self.pending.get_mut(ordinal.checked_sub(first)? as usize)
    }
}
