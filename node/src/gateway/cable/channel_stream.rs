//! Stream of one conversation to one subscription: joins the history with the live events, without overlap or hole. Pure.
//!
//! While the log is read, live events are not kept: only the highest position is. The log is then read up to it, so a
//! slow read costs no memory. The one event that is kept is that of the user's removal, behind which the log cannot be
//! read any more.

use bytes::Bytes;
use protocol::response::LastEvent;

use super::stream_effect::{EventEffect, HeldRemoval, LogPage, PageEvent, StreamEffect};
use super::stream_history::HistoryStart;

/// Maximum number of events of a history; a client that lacks more reads pages by its own actions.
const HISTORY_EVENTS: u64 = 1_000;
/// Events per page of a history.
const PAGE: u64 = 100;

/// Stream of one conversation.
#[derive(Clone, Debug)]
pub(super) struct ChannelStream {
    /// Position at the confirmation: a client without a position of its own lacks what is behind it.
    start: u64,
    /// Highest position that was sent, or that the client does not need.
    sent: u64,
    /// Highest position that is known to exist.
    head: u64,
    /// Head at the last query: events behind it may have come into being after the page was read.
    head_at_query: u64,
    phase: StreamPhase,
    /// Event that removes the user, while it cannot be sent.
    removal: Option<HeldRemoval>,
    /// True once a page was refused for good: the event that removes the user is on its way.
    was_refused: bool,
}

#[derive(Clone, Debug)]
enum StreamPhase {
    /// The membership is not known yet. The history that the client asked for with its subscription.
    Opening(Option<HistoryStart>),
    /// Continued subscription, whose client asks for its history next.
    Restored,
    /// Events behind `sent` are passed on.
    Live,
    Reading(LogRead),
}

/// Purpose of the page that is being read.
#[derive(Clone, Copy, Debug)]
enum LogRead {
    /// Events behind `sent`. `asked`: the client waits for a confirmation.
    Behind { asked: bool },
    /// Newest page, in search of the first event of a time.
    Newest { since_ms: u64 },
    /// Binary search: the first event of the time is between the positions, both included.
    Search {
        since_ms: u64,
        low: u64,
        high: u64,
        /// Lowest position of the search; a first event there means that more than the maximum is missing.
        floor: u64,
    },
}

// === impl ChannelStream ===

impl ChannelStream {
    /// Creates the stream of a subscription whose membership is being checked.
    pub(super) fn opening(history: Option<HistoryStart>) -> ChannelStream {
        ChannelStream {
            start: 0,
            sent: 0,
            head: 0,
            head_at_query: 0,
            phase: StreamPhase::Opening(history),
            removal: None,
            was_refused: false,
        }
    }

    /// Creates the stream of a continued subscription that was confirmed at `start`, and is being checked again.
    pub(super) fn restored(start: u64) -> ChannelStream {
        ChannelStream {
            start,
            sent: start,
            phase: StreamPhase::Restored,
            ..ChannelStream::opening(None)
        }
    }

    /// Returns true once the subscription is confirmed.
    pub(super) fn is_confirmed(&self) -> bool {
        !matches!(self.phase, StreamPhase::Opening(_))
    }

    /// Position at the confirmation, for the session that continues this one.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Handles a live event of the log. `removal`: the event removes the user.
    pub(super) fn on_event(&mut self, seq: u64, removal: Option<&Bytes>) -> EventEffect {
        self.head = self.head.max(seq);
        match self.phase {
            StreamPhase::Live if seq > self.sent => {
                self.sent = seq;
                EventEffect::Send
            }
            StreamPhase::Live => EventEffect::Skip,
            StreamPhase::Opening(_) | StreamPhase::Restored | StreamPhase::Reading(_) => {
                if let Some(tail) = removal.cloned() {
                    self.removal = Some(HeldRemoval { seq, tail });
                }
                EventEffect::Skip
            }
        }
    }

    /// Handles news of the log's end: events up to it may not have come.
    pub(super) fn on_head(&mut self, seq: u64) -> Vec<StreamEffect> {
        self.head = self.head.max(seq);
        match self.phase {
            StreamPhase::Live => self.read_on(),
            _ => Vec::new(),
        }
    }

    /// Handles the loss of an unknown number of events.
    pub(super) fn on_loss(&mut self) -> Vec<StreamEffect> {
        match self.phase {
            StreamPhase::Live => self.read_behind(false),
            _ => Vec::new(),
        }
    }

    /// Handles the proof of membership together with the end of the log.
    pub(super) fn on_opened(&mut self, last: LastEvent) -> Vec<StreamEffect> {
        self.head = self.head.max(last.seq);
        let StreamPhase::Opening(history) = self.phase else {
            return Vec::new();
        };
        self.start = last.seq;
        self.sent = last.seq;
        // An earlier removal was of an earlier membership.
        self.removal.take_if(|removal| removal.seq <= last.seq);
        let mut effects = vec![StreamEffect::ConfirmSubscription];
        effects.extend(match history {
            Some(start) => self.begin_history(start, last.timestamp_ms),
            None => self.read_on(),
        });
        effects
    }

    /// Handles a refused check of the membership.
    pub(super) fn on_refused(&mut self, temporary: bool) -> Vec<StreamEffect> {
        // Without an answer the client asks again; a rejection would end its subscription for good.
        vec![if temporary {
            StreamEffect::Forget
        } else {
            StreamEffect::Reject
        }]
    }

    /// Handles a request for history of a confirmed subscription.
    pub(super) fn on_history(&mut self, start: HistoryStart) -> Vec<StreamEffect> {
        match &mut self.phase {
            // The last request counts: the client asked twice before the confirmation.
            StreamPhase::Opening(history) => {
                *history = Some(start);
                Vec::new()
            }
            // A client without a position has received nothing since the confirmation.
            StreamPhase::Restored => match start {
                HistoryStart::Since(_) | HistoryStart::Nothing => {
                    self.begin_history(HistoryStart::Behind(self.start), 0)
                }
                HistoryStart::Behind(_) | HistoryStart::Unknown => self.begin_history(start, 0),
            },
            StreamPhase::Live => self.begin_history(start, u64::MAX),
            StreamPhase::Reading(_) => vec![StreamEffect::RejectHistory],
        }
    }

    /// Ends the wait of a continued subscription whose client asked for no history.
    pub(super) fn on_patience_over(&mut self) -> Vec<StreamEffect> {
        match self.phase {
            StreamPhase::Restored => {
                self.sent = self.head;
                let mut effects = vec![StreamEffect::Resync];
                effects.extend(self.go_live());
                effects
            }
            _ => Vec::new(),
        }
    }

    /// Handles a page of the log, in ascending order. `more`: further events exist in the direction that was asked for.
    /// `gap`: events behind the position that was asked for are missing.
    pub(super) fn on_page(&mut self, page: &[PageEvent], more: bool, gap: bool) -> Vec<StreamEffect> {
        let StreamPhase::Reading(read) = self.phase else {
            return Vec::new();
        };
        match read {
            LogRead::Behind { asked } => self.on_page_behind(page, more, gap, asked),
            LogRead::Newest { since_ms } => {
                let first = page.iter().position(|event| event.ts >= since_ms);
                match (first, page.first()) {
                    // All events of the page are of the time: the first one may be on an earlier page.
                    (Some(0), Some(event)) if more => {
                        let high = event.seq;
                        let floor = self.head.saturating_sub(HISTORY_EVENTS).max(1).min(high);
                        self.search(since_ms, floor, high, floor)
                    }
                    (Some(at), _) => {
                        self.sent = page[at].seq.saturating_sub(1);
                        self.phase = StreamPhase::Reading(LogRead::Behind { asked: true });
                        self.on_page_behind(page, false, false, true)
                    }
                    (None, _) => self.finish(true),
                }
            }
            LogRead::Search {
                since_ms,
                low,
                high,
                floor,
            } => {
                let middle = middle(low, high);
                match page.first() {
                    Some(event) if event.ts < since_ms => self.search(since_ms, event.seq + 1, high, floor),
                    _ => self.search(since_ms, low, middle, floor),
                }
            }
        }
    }

    /// Handles a refused page.
    pub(super) fn on_page_refused(&mut self, temporary: bool) -> Vec<StreamEffect> {
        let StreamPhase::Reading(read) = self.phase else {
            return Vec::new();
        };
        let asked = !matches!(read, LogRead::Behind { asked: false });
        // The log of a former member cannot be read, so the client gets the removal at once.
        if self.removal.is_some() {
            let mut effects = Vec::new();
            effects.extend(asked.then_some(StreamEffect::RejectHistory));
            effects.extend(self.go_live());
            return effects;
        }
        // The removal may still be on its way. A second refusal shows that it was lost.
        if !temporary && std::mem::replace(&mut self.was_refused, true) {
            return vec![StreamEffect::Reject];
        }
        self.sent = self.head;
        let mut effects = vec![if asked {
            StreamEffect::RejectHistory
        } else {
            StreamEffect::Resync
        }];
        effects.extend(self.go_live());
        effects
    }

    fn on_page_behind(
        &mut self,
        page: &[PageEvent],
        more: bool,
        gap: bool,
        asked: bool,
    ) -> Vec<StreamEffect> {
        let mut effects = Vec::new();
        if gap {
            if asked {
                self.sent = self.head;
                effects.push(StreamEffect::RejectHistory);
                effects.extend(self.go_live());
                return effects;
            }
            effects.push(StreamEffect::Resync);
        }
        let first = page.iter().position(|event| event.seq > self.sent);
        if let (Some(first), Some(last)) = (first, page.last()) {
            effects.push(StreamEffect::Send(first));
            self.sent = last.seq;
            self.head = self.head.max(last.seq);
            if more || self.head > self.sent {
                effects.push(self.query_behind());
                return effects;
            }
        }
        // Without an event on the page, what existed at the query is not visible to this member.
        self.sent = self.sent.max(self.head_at_query);
        effects.extend(self.finish(asked));
        effects
    }

    /// Begins to send the history from `start`. `last_ts`: time of the last event in milliseconds.
    fn begin_history(&mut self, start: HistoryStart, last_ts: u64) -> Vec<StreamEffect> {
        match start {
            HistoryStart::Behind(offset) => {
                // A position beyond the log, and one too far behind: the client has to read pages by itself.
                if offset > self.head || self.head - offset > HISTORY_EVENTS {
                    return self.reject_history();
                }
                self.sent = offset;
                if self.head == offset {
                    return self.finish(true);
                }
                self.read_behind(true)
            }
            HistoryStart::Since(since) => {
                let since_ms = since.saturating_mul(1_000);
                if last_ts < since_ms {
                    return self.finish(true);
                }
                self.phase = StreamPhase::Reading(LogRead::Newest { since_ms });
                vec![StreamEffect::Query(LogPage {
                    after: None,
                    limit: PAGE,
                })]
            }
            HistoryStart::Unknown => self.reject_history(),
            HistoryStart::Nothing => self.finish(true),
        }
    }

    fn reject_history(&mut self) -> Vec<StreamEffect> {
        self.sent = self.head;
        let mut effects = vec![StreamEffect::RejectHistory];
        effects.extend(self.go_live());
        effects
    }

    /// Continues the search between two positions, or begins to read where it ended.
    fn search(&mut self, since_ms: u64, low: u64, high: u64, floor: u64) -> Vec<StreamEffect> {
        if low < high {
            self.phase = StreamPhase::Reading(LogRead::Search {
                since_ms,
                low,
                high,
                floor,
            });
            return vec![StreamEffect::Query(LogPage {
                after: Some(middle(low, high) - 1),
                limit: 1,
            })];
        }
        if high <= floor && floor > 1 {
            return self.reject_history();
        }
        self.sent = high - 1;
        self.read_behind(true)
    }

    /// Reads the log if events behind the last one sent exist; otherwise live events follow.
    fn read_on(&mut self) -> Vec<StreamEffect> {
        if self.head > self.sent {
            self.read_behind(false)
        } else {
            self.go_live().into_iter().collect()
        }
    }

    fn read_behind(&mut self, asked: bool) -> Vec<StreamEffect> {
        self.phase = StreamPhase::Reading(LogRead::Behind { asked });
        vec![self.query_behind()]
    }

    fn query_behind(&mut self) -> StreamEffect {
        self.head_at_query = self.head;
        StreamEffect::Query(LogPage {
            after: Some(self.sent),
            limit: PAGE,
        })
    }

    /// Ends a history: confirms it if the client waits for that, and passes on live events.
    fn finish(&mut self, asked: bool) -> Vec<StreamEffect> {
        let mut effects = Vec::new();
        effects.extend(asked.then_some(StreamEffect::ConfirmHistory));
        // Events that arrived during a search were not sent.
        effects.extend(self.read_on());
        effects
    }

    fn go_live(&mut self) -> Option<StreamEffect> {
        self.phase = StreamPhase::Live;
        let removal = self.removal.take()?;
        Some(if removal.seq > self.sent {
            StreamEffect::SendRemoval(removal.tail)
        } else {
            StreamEffect::Reject
        })
    }
}

/// Middle of two positions, the lower one of two.
fn middle(low: u64, high: u64) -> u64 {
    low + (high - low) / 2
}

#[cfg(test)]
mod tests;
