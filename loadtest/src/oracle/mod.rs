//! The oracle: hears of every ack, every refusal and every event that a client applies, and says which promise is
//! broken. It knows nothing of sockets or time, so recorded histories with planted defects prove it (`tests`).
//!
//! Memory is bounded: a window of digests per conversation, a block digest for every 1024 events that have left
//! it, one position per (conversation, client), one ordinal per (conversation, sender), one pair of cursors per
//! (conversation, client, member whose receipts it gets).

mod changes;
mod conversation;
mod cursors;
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

pub(crate) use changes::{Change, What};
pub(crate) use cursors::Row;
pub(crate) use log::Reading;
pub(crate) use realtime::Since;
pub(crate) use resyncs::Resyncs;
pub(crate) use retention::Retention;
pub(crate) use seen::{Seen, mark};
pub(crate) use violation::{History, Kind, Violation};

use self::conversation::{Conversation, View};
use self::log::{Log, Verdict};
use self::realtime::Acknowledged;
use self::refusals::Touches;
use crate::clock::Nanos;
use crate::payload::{ClientIx, Ordinal, Tag};
use crate::team::Share;

/// Numbers conversations from 0.
pub(crate) type ConvIx = u32;

/// The default of `Oracle::window_total`.
const WINDOW_TOTAL: usize = 1_500_000;
/// What is kept of the violations themselves; one is enough to end a run.
const VIOLATIONS: usize = 20;

/// Judges a whole run.
#[derive(Debug)]
pub(crate) struct Oracle {
    conversations: Vec<Conversation>,
    names: HashMap<String, ConvIx>,
    violations: Vec<Violation>,
    counts: Counts,
    history: History,
    /// How many log entries all windows hold together (40 bytes each).
    window_total: usize,
    share: Share,
    /// What the nodes let go.
    retention: Retention,
    /// The time of the run, as far as it was told.
    now: Nanos,
    /// What other processes counted.
    elsewhere: Counts,
    late_elsewhere: u64,
}

/// How much was judged: a verdict over nothing is worth nothing.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) applied: u64,
    pub(crate) read_back: u64,
    /// Edits, deletions and reactions that were acked.
    #[serde(default)]
    pub(crate) changed: u64,
    /// Receipts that were compared with the ones before.
    #[serde(default)]
    pub(crate) receipts: u64,
    /// Rows of inboxes whose unread messages were counted again.
    #[serde(default)]
    pub(crate) recounted: u64,
    /// Times that a node said `resync`.
    #[serde(default)]
    pub(crate) resyncs: u64,
    /// Pairs of replicas whose digests were compared.
    #[serde(default)]
    pub(crate) replicas: u64,
    /// Reads that were held against what had been acknowledged before they began.
    #[serde(default)]
    pub(crate) reads: u64,
    pub(crate) violations: u64,
    /// Messages that a receiver got again, where that is allowed.
    #[serde(default)]
    pub(crate) doubled: u64,
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
            counts: Counts::default(),
            history: History::new(4000),
            window_total,
            share: Share::ALL,
            retention: Retention::default(),
            now: 0,
            elsewhere: Counts::default(),
            late_elsewhere: 0,
        }
    }

    /// Judges the views of some of the clients; before the first conversation.
    pub(crate) fn judge_only(&mut self, share: Share) {
        self.share = share;
    }

    /// Returns the number of a conversation, new or known.
    pub(crate) fn conversation(&mut self, name: &str) -> ConvIx {
        if let Some(ix) = self.names.get(name) {
            return *ix;
        }
        let ix = self.conversations.len() as ConvIx;
        self.conversations.push(Conversation {
            name: name.to_owned(),
            log: Log::new(self.share),
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

    /// The number of a conversation that the run knows.
    pub(crate) fn known(&self, name: &str) -> Option<ConvIx> {
        self.names.get(name).copied()
    }

    /// A client's view begins: the next event that it applies is `last + 1`.
    pub(crate) fn joined(&mut self, conv: ConvIx, client: ClientIx, last: u64) {
        let view = View {
            began: last,
            last,
            removed: None,
            receipts: HashMap::new(),
            reached: last,
        };
        self.conversations[conv as usize].views.insert(client, view);
    }

    /// A client is about to send its next message.
    pub(crate) fn issue(&mut self, conv: ConvIx, client: ClientIx) -> Ordinal {
        self.counts.sent += 1;
        self.conversations[conv as usize].log.issue(client)
    }

    /// The ack of a message arrived.
    pub(crate) fn acked(&mut self, conv: ConvIx, tag: Tag, s: u64) {
        self.counts.acked += 1;
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.message(tag.sender, s);
        let verdict = conversation.log.ack(tag, s);
        self.judge(verdict, conv, Some(tag.sender), s);
    }

    /// A client applied an event, by the client rule: its `s` is one above the last.
    pub(crate) fn applied(&mut self, conv: ConvIx, client: ClientIx, seen: &Seen) {
        self.counts.applied += 1;
        let window = self.window_total / self.conversations.len().max(1);
        let conversation = &mut self.conversations[conv as usize];
        let before = conversation.is_from_before(client, seen);
        let verdict = conversation
            .view(client, seen)
            .and_then(|()| conversation.log.see(seen, window, before));
        self.judge(verdict, conv, Some(client), seen.s);
        self.recount(conv);
        self.judge_gone(conv, false);
    }

    /// The ordinal of a client's next change, to make its client id of.
    pub(crate) fn next_change(&mut self, conv: ConvIx, client: ClientIx) -> Ordinal {
        self.conversations[conv as usize].log.next_change(client)
    }

    /// The change is about to be sent. A client makes one at a time.
    pub(crate) fn issue_change(&mut self, conv: ConvIx, ordinal: Ordinal, change: Change) {
        let conversation = &mut self.conversations[conv as usize];
        conversation.touches.add(&change);
        conversation.log.issue_change(ordinal, change);
    }

    /// The ack of a change arrived.
    pub(crate) fn change_acked(&mut self, conv: ConvIx, tag: Tag, s: u64) {
        self.counts.changed += 1;
        let conversation = &mut self.conversations[conv as usize];
        conversation.acknowledged.event(s);
        let verdict = conversation.log.ack(tag, s);
        self.judge(verdict, conv, Some(tag.sender), s);
    }

    /// How many entries the oracle holds, digests of blocks apart: bounded, however long the run.
    #[cfg(test)]
    fn entries(&self) -> (usize, usize) {
        let all = self.conversations.iter();
        let views = all.clone().flat_map(|conversation| conversation.views.values());
        let views: usize = views.map(|view| 1 + view.receipts.len()).sum();
        let logs: usize = all
            .clone()
            .map(|conversation| {
                conversation.log.entries() + conversation.rows.len() + conversation.touches.entries()
            })
            .sum();
        (
            logs + views,
            all.map(|conversation| conversation.log.blocks()).sum(),
        )
    }

    /// How many events are remembered beside the windows.
    #[cfg(test)]
    fn archived(&self) -> usize {
        let logs = self
            .conversations
            .iter()
            .map(|conversation| conversation.log.archived());
        logs.sum()
    }

    /// A second reading of the log meets its next event.
    pub(crate) fn reread(&mut self, conv: ConvIx, reading: &mut Reading, seen: &Seen) {
        self.counts.read_back += 1;
        let window = self.window_total / self.conversations.len().max(1);
        let verdict = self.conversations[conv as usize]
            .log
            .reread(reading, seen, window);
        self.judge(verdict, conv, None, seen.s);
    }

    /// Where a reading may begin: right above this `s`.
    pub(crate) fn reread_after(&self, conv: ConvIx) -> u64 {
        self.conversations[conv as usize].log.origin().saturating_sub(1)
    }

    /// Whether it is known that this client was removed, and not taken in again since.
    pub(crate) fn was_removed(&self, conv: ConvIx, client: ClientIx) -> bool {
        self.removal(conv, client).is_some()
    }

    /// Tells whether every view of every conversation has reached the end of what is known.
    pub(crate) fn level(&self) -> bool {
        self.conversations
            .iter()
            .all(|conversation| conversation.behind().next().is_none())
    }

    /// All is sent, answered, delivered and read back: what is missing now is missing for good.
    pub(crate) fn finish(&mut self) {
        for conv in 0..self.conversations.len() {
            self.finish_removals(conv as ConvIx);
            self.judge_gone(conv as ConvIx, true);
            let conversation = &self.conversations[conv];
            let frontier = conversation.log.frontier();
            let lost: Vec<_> = conversation.log.lost().collect();
            let behind: Vec<_> = conversation.behind().collect();
            let rule = self.retention.rule(&conversation.name);
            // An edit goes with its message, and the last event keeps its place without its words.
            let permitted = |of: &u64| rule.permits(&conversation.log, *of, self.now).is_ok();
            let bare: Vec<_> = conversation.log.bare().filter(|(_, of)| !permitted(of)).collect();
            let (cursor, seen) = (conversation.cursor, conversation.log.origin() > 0);
            for (s, _) in bare {
                self.violate(
                    Kind::Vanished,
                    Some(conv as ConvIx),
                    None,
                    s,
                    "seen without its words, and there is no deletion".to_owned(),
                );
            }
            if seen && cursor > frontier {
                self.violate(
                    Kind::CursorOrder,
                    Some(conv as ConvIx),
                    None,
                    cursor,
                    format!("somebody was shown as having s={cursor}, the log ends at s={frontier}"),
                );
            }
            for (s, tag) in lost {
                self.violate(
                    Kind::AckedLost,
                    Some(conv as ConvIx),
                    Some(tag.sender),
                    s,
                    format!("{tag:?}; the log ends at s={frontier}"),
                );
            }
            for (client, last) in behind {
                self.violate(
                    Kind::MissedAtEnd,
                    Some(conv as ConvIx),
                    Some(client),
                    last,
                    format!("has s={last}, the log ends at s={frontier}"),
                );
            }
        }
    }

    /// So many pairs of replicas were compared.
    pub(crate) fn replicas_compared(&mut self, pairs: u64) {
        self.counts.replicas += pairs;
    }

    /// Records a broken promise.
    pub(crate) fn violate(
        &mut self,
        kind: Kind,
        conv: Option<ConvIx>,
        client: Option<ClientIx>,
        s: u64,
        detail: String,
    ) {
        self.counts.violations += 1;
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

    /// Notes something that isn't judged but helps to read a violation.
    pub(crate) fn note(&mut self, at: u64, line: impl std::fmt::Display) {
        self.tick(at);
        self.history.note(at, line);
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.plus(self.elsewhere)
    }

    /// What others have counted so far.
    pub(crate) fn heard(&mut self, elsewhere: Counts) {
        self.elsewhere = elsewhere;
    }

    /// Violations that others have found, and counted.
    pub(crate) fn adopt(&mut self, violations: Vec<Violation>) {
        let room = VIOLATIONS.saturating_sub(self.violations.len());
        self.violations.extend(violations.into_iter().take(room));
    }

    /// Sights that came too late for the windows of others.
    pub(crate) fn heard_late(&mut self, late: u64) {
        self.late_elsewhere += late;
    }

    /// A line of another's history.
    pub(crate) fn retell(&mut self, line: String) {
        self.history.retell(line);
    }

    /// A conversation whose digests are for a coordinator, too.
    pub(crate) fn tell(&mut self, conv: ConvIx) {
        self.conversations[conv as usize].log.tell();
    }

    /// The next digests of a conversation for the coordinator, and the `s` of the first.
    pub(crate) fn untold(&mut self, conv: ConvIx, most: usize) -> Option<(u64, Vec<u64>)> {
        self.conversations[conv as usize].log.untold(most)
    }

    /// Up to where a conversation is known, and the least that one of its members here has applied; `None` if all were
    /// removed.
    pub(crate) fn reached(&self, conv: ConvIx) -> (u64, Option<u64>) {
        let conversation = &self.conversations[conv as usize];
        let views = conversation.views.values();
        let there = views.filter(|view| view.removed.is_none());
        (conversation.log.frontier(), there.map(|view| view.last).min())
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Sights that came too late for the window, and were judged by the archive.
    pub(crate) fn late(&self) -> u64 {
        let here = self
            .conversations
            .iter()
            .map(|conversation| conversation.log.late);
        here.sum::<u64>() + self.late_elsewhere
    }
}

// === impl Counts ===

impl Counts {
    /// Both together.
    pub(crate) fn plus(self, other: Counts) -> Counts {
        Counts {
            sent: self.sent + other.sent,
            acked: self.acked + other.acked,
            refused: self.refused + other.refused,
            applied: self.applied + other.applied,
            read_back: self.read_back + other.read_back,
            changed: self.changed + other.changed,
            receipts: self.receipts + other.receipts,
            recounted: self.recounted + other.recounted,
            resyncs: self.resyncs + other.resyncs,
            replicas: self.replicas + other.replicas,
            reads: self.reads + other.reads,
            violations: self.violations + other.violations,
            doubled: self.doubled + other.doubled,
        }
    }
}
