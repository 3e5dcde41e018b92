//! Oracle: checks every ack, every refusal and every applied event, and reports broken promises.
//!
//! It uses neither sockets nor a clock, so recorded histories with planted defects test it (`tests`).
//!
//! Memory holds only:
//!
//! * per conversation, a window of digests and a block digest for every 1024 events below it;
//! * per conversation and client, one position;
//! * per conversation and sender, one ordinal;
//! * per conversation, client and member whose receipts it receives, one pair of cursors.

mod changes;
mod conversation;
mod cursors;
mod judged_counts;
mod log;
mod realtime;
mod refusals;
mod resyncs;
mod retention;
mod seen;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_changes;
#[cfg(test)]
mod tests_realtime;
#[cfg(test)]
mod tests_retention;
mod violation;

use std::collections::{HashMap, VecDeque};

pub(crate) use changes::{ChangeKind, MessageChange};
pub(crate) use cursors::ListedRow;
pub(crate) use judged_counts::JudgedCounts;
pub(crate) use log::Reading;
pub(crate) use realtime::AcknowledgedSeqs;
pub(crate) use resyncs::Resyncs;
pub(crate) use retention::RetentionSettings;
pub(crate) use seen::{SeenEvent, mark};
pub(crate) use violation::{EventHistory, Violation, ViolationKind};

use self::conversation::{AppliedView, OracleConversation};
use self::log::{OracleLog, Verdict};
use self::realtime::Acknowledged;
use self::refusals::Touches;
use crate::clock::Nanos;
use crate::payload::{ClientIx, MessageTag, Ordinal};
use crate::spec::ClientSlice;

/// Index of a conversation, from 0.
pub(crate) type ConvIx = u32;

/// Default of [`Oracle`]'s `window_total`.
const WINDOW_TOTAL: usize = 1_500_000;
/// Maximum number of violations stored with their details. One is enough to end a run.
const VIOLATIONS: usize = 20;

/// Checker of a whole run.
#[derive(Debug)]
pub(crate) struct Oracle {
    conversations: Vec<OracleConversation>,
    names: HashMap<String, ConvIx>,
    violations: Vec<Violation>,
    counts: JudgedCounts,
    history: EventHistory,
    /// Number of log entries in all windows together, at 40 bytes each.
    window_total: usize,
    share: ClientSlice,
    /// Retention settings of the nodes.
    retention: RetentionSettings,
    /// Latest time of the run that was passed in.
    now: Nanos,
    /// Counts of other processes.
    elsewhere: JudgedCounts,
    late_elsewhere: u64,
}

// === impl Oracle ===

impl Oracle {
    pub(crate) fn new() -> Oracle {
        Oracle::with_window(WINDOW_TOTAL)
    }

    fn with_window(window_total: usize) -> Oracle {
        Oracle {
            conversations: Vec::new(),
            names: HashMap::new(),
            violations: Vec::new(),
            counts: JudgedCounts::default(),
            history: EventHistory::new(4000),
            window_total,
            share: ClientSlice::ALL,
            retention: RetentionSettings::default(),
            now: 0,
            elsewhere: JudgedCounts::default(),
            late_elsewhere: 0,
        }
    }

    /// Limits the judged views to the clients in `share`. Must precede the first conversation.
    pub(crate) fn judge_only(&mut self, share: ClientSlice) {
        self.share = share;
    }

    /// Returns the index of a conversation, and adds it if it is new.
    pub(crate) fn conversation(&mut self, name: &str) -> ConvIx {
        if let Some(ix) = self.names.get(name) {
            return *ix;
        }
        let ix = self.conversations.len() as ConvIx;
        self.conversations.push(OracleConversation {
            name: name.to_owned(),
            log: OracleLog::new(self.share),
            views: HashMap::new(),
            rows: VecDeque::new(),
            cursor: 0,
            gone: Vec::new(),
            acknowledged: Acknowledged::default(),
            touches: Touches::default(),
        });
        self.names.insert(name.to_owned(), ix);
        ix
    }

    /// Returns the index of a conversation of this run; `None` for any other name.
    pub(crate) fn known(&self, name: &str) -> Option<ConvIx> {
        self.names.get(name).copied()
    }

    /// Begins a client's view. The next event that it applies is `last + 1`.
    pub(crate) fn joined(&mut self, conv: ConvIx, client: ClientIx, last: u64) {
        let view = AppliedView {
            began: last,
            last,
            removed: None,
            receipts: HashMap::new(),
            reached: last,
        };
        let conversation = &mut self.conversations[conv as usize];
        conversation.log.begin(last);
        conversation.views.insert(client, view);
    }

    /// Returns the ordinal of the client's next message, which is about to be sent.
    pub(crate) fn issue(&mut self, conv: ConvIx, client: ClientIx) -> Ordinal {
        self.counts.sent += 1;
        self.conversations[conv as usize].log.issue(client)
    }

    /// Checks the ack of a message.
    pub(crate) fn acked(&mut self, conv: ConvIx, tag: MessageTag, s: u64) {
        self.counts.acked += 1;
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.message(tag.sender, s);
        let verdict = conversation.log.ack(tag, s);
        self.judge(verdict, conv, Some(tag.sender), s);
    }

    /// Checks an event that a client applied. By the client rule its `s` is one above the last.
    pub(crate) fn applied(&mut self, conv: ConvIx, client: ClientIx, seen: &SeenEvent) {
        self.counts.applied += 1;
        // One budget for all windows: memory must not grow with the number of conversations.
        let window = self.window_total / self.conversations.len().max(1);
        let conversation = &mut self.conversations[conv as usize];
        let before = conversation.is_from_before(client, seen);
        // The view first: an event that this client must not have would otherwise enter the log.
        let verdict = conversation
            .view(client, seen)
            .and_then(|()| conversation.log.see(seen, window, before));
        self.judge(verdict, conv, Some(client), seen.s);
        // The log may now cover rows and gaps that were waiting for it.
        self.recount(conv);
        self.judge_gone(conv, false);
    }

    /// Moves a client's view over a gap that the client reported. A later reading of its whole log must contain the
    /// events of the gap.
    pub(crate) fn skipped(&mut self, conv: ConvIx, client: ClientIx, from: u64, to: u64) {
        let Some(view) = self.conversations[conv as usize].views.get_mut(&client) else {
            return;
        };
        if from == view.last + 1 {
            view.last = view.last.max(to);
            return;
        }
        let detail = format!(
            "client {client} had s={} and reports a gap from s={from} to s={to}",
            view.last
        );
        self.violate(ViolationKind::Hole, Some(conv), Some(client), from, detail);
    }

    /// Returns the ordinal of the client's next change, for its client message id.
    pub(crate) fn next_change(&mut self, conv: ConvIx, client: ClientIx) -> Ordinal {
        self.conversations[conv as usize].log.next_change(client)
    }

    /// Adds a change that is about to be sent. A client makes one at a time.
    pub(crate) fn issue_change(&mut self, conv: ConvIx, ordinal: Ordinal, change: MessageChange) {
        let conversation = &mut self.conversations[conv as usize];
        // Before the response: a conflicting change of another client may be refused first.
        conversation.touches.add(&change);
        conversation.log.issue_change(ordinal, change);
    }

    /// Checks the ack of a change.
    pub(crate) fn change_acked(&mut self, conv: ConvIx, tag: MessageTag, s: u64) {
        self.counts.changed += 1;
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.event(s);
        let verdict = conversation.log.ack(tag, s);
        self.judge(verdict, conv, Some(tag.sender), s);
    }

    /// Checks the next event of a second reading.
    pub(crate) fn reread(&mut self, conv: ConvIx, reading: &mut Reading, seen: &SeenEvent) {
        self.counts.read_back += 1;
        let window = self.window_total / self.conversations.len().max(1);
        let verdict = self.conversations[conv as usize]
            .log
            .reread(reading, seen, window);
        self.judge(verdict, conv, None, seen.s);
    }

    /// Returns the `s` directly below the start of a reading.
    pub(crate) fn reread_after(&self, conv: ConvIx) -> u64 {
        self.conversations[conv as usize].log.origin().saturating_sub(1)
    }

    /// Returns `true` if the client was removed and not added again since, as far as is known.
    pub(crate) fn was_removed(&self, conv: ConvIx, client: ClientIx) -> bool {
        self.removal(conv, client).is_some()
    }

    /// Returns `true` if every view of every conversation has reached the end of the known log.
    pub(crate) fn level(&self) -> bool {
        self.conversations
            .iter()
            .all(|conversation| conversation.behind().next().is_none())
    }

    /// Reports everything that is missing, after all is sent, answered, delivered and read back.
    pub(crate) fn finish(&mut self) {
        for conv in 0..self.conversations.len() {
            self.finish_removals(conv as ConvIx);
            self.judge_gone(conv as ConvIx, true);
            let conversation = &self.conversations[conv];
            let frontier = conversation.log.frontier();
            let lost: Vec<_> = conversation.log.lost().collect();
            let behind: Vec<_> = conversation.behind().collect();
            let rule = self.retention.rule(&conversation.name);
            // Retention removes an edit's body with its message, and keeps the last event's position without a body.
            let permitted = |of: &u64| rule.permits(&conversation.log, *of, self.now).is_ok();
            let bare: Vec<_> = conversation.log.bare().filter(|(_, of)| !permitted(of)).collect();
            let (cursor, seen) = (conversation.cursor, conversation.log.origin() > 0);
            for (s, _) in bare {
                self.violate(
                    ViolationKind::Vanished,
                    Some(conv as ConvIx),
                    None,
                    s,
                    "received without its body, but it was not deleted".to_owned(),
                );
            }
            // A cursor above the log's end acknowledges an event that does not exist.
            if seen && cursor > frontier {
                self.violate(
                    ViolationKind::CursorOrder,
                    Some(conv as ConvIx),
                    None,
                    cursor,
                    format!("a receipt has s={cursor}, the log ends at s={frontier}"),
                );
            }
            for (s, tag) in lost {
                self.violate(
                    ViolationKind::AckedLost,
                    Some(conv as ConvIx),
                    Some(tag.sender),
                    s,
                    format!("{tag:?}; the log ends at s={frontier}"),
                );
            }
            for (client, last) in behind {
                self.violate(
                    ViolationKind::MissedAtEnd,
                    Some(conv as ConvIx),
                    Some(client),
                    last,
                    format!("is at s={last}, the log ends at s={frontier}"),
                );
            }
        }
    }

    /// Counts compared pairs of replicas.
    pub(crate) fn replicas_compared(&mut self, pairs: u64) {
        self.counts.replicas += pairs;
    }

    /// Records a violation. Beyond the first ones only the count increases.
    pub(crate) fn violate(
        &mut self,
        kind: ViolationKind,
        conv: Option<ConvIx>,
        client: Option<ClientIx>,
        s: u64,
        detail: String,
    ) {
        self.counts.violations += 1;
        // Counted only: one defect may cause thousands of violations with a copy of the log each.
        if self.violations.len() >= VIOLATIONS {
            return;
        }
        let conversation = conv.and_then(|conv| self.conversations.get(conv as usize));
        self.violations.push(Violation {
            kind,
            conversation: conversation.map_or_else(String::new, |conversation| conversation.name.clone()),
            client,
            s,
            detail,
            log: conversation.map_or_else(Vec::new, |conversation| conversation.log.around(s)),
        });
    }

    fn judge(&mut self, verdict: Verdict, conv: ConvIx, client: Option<ClientIx>, s: u64) {
        if let Err((kind, detail)) = verdict {
            self.violate(kind, Some(conv), client, s, detail);
        }
    }

    /// Adds a line to the history, which is not judged and helps to read a violation.
    pub(crate) fn note(&mut self, at: u64, line: impl std::fmt::Display) {
        // The oracle has no clock. The times of the history also advance its time for retention.
        self.tick(at);
        self.history.note(at, line);
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn counts(&self) -> JudgedCounts {
        self.counts.plus(self.elsewhere)
    }

    /// Sets the counts of the other processes.
    pub(crate) fn on_event(&mut self, elsewhere: JudgedCounts) {
        self.elsewhere = elsewhere;
    }

    /// Adds violations of other processes. They are part of their counts already.
    pub(crate) fn adopt(&mut self, violations: Vec<Violation>) {
        let room = VIOLATIONS.saturating_sub(self.violations.len());
        self.violations.extend(violations.into_iter().take(room));
    }

    /// Adds the number of observations that were too late for the windows of other processes.
    pub(crate) fn on_late_event(&mut self, late: u64) {
        self.late_elsewhere += late;
    }

    /// Adds a line of another process's history.
    pub(crate) fn retell(&mut self, line: String) {
        self.history.retell(line);
    }

    /// Starts to hold the digests of a conversation for the coordinator.
    pub(crate) fn report(&mut self, conv: ConvIx) {
        self.conversations[conv as usize].log.report();
    }

    /// Returns the next unreported digests of a conversation, and the `s` of the first.
    pub(crate) fn unreported(&mut self, conv: ConvIx, most: usize) -> Option<(u64, Vec<u64>)> {
        self.conversations[conv as usize].log.unreported(most)
    }

    /// Returns the end of the known log, and the lowest position that a member of this process has applied; `None` if
    /// all were removed.
    pub(crate) fn reached(&self, conv: ConvIx) -> (u64, Option<u64>) {
        let conversation = &self.conversations[conv as usize];
        let views = conversation.views.values();
        // Removed members never advance, and must not hold the others back.
        let there = views.filter(|view| view.removed.is_none());
        (conversation.log.frontier(), there.map(|view| view.last).min())
    }

    pub(crate) fn history(&self) -> &EventHistory {
        &self.history
    }

    /// Returns the number of observations below the windows, compared with the archive.
    pub(crate) fn late(&self) -> u64 {
        let here = self
            .conversations
            .iter()
            .map(|conversation| conversation.log.late);
        here.sum::<u64>() + self.late_elsewhere
    }
}
