//! The oracle: hears of every ack, every refusal and every event that a client applies, and says which promise is
//! broken. It knows nothing of sockets or time, so recorded histories with planted defects prove it (`tests`).
//!
//! Memory is bounded: a window of digests per conversation, a block digest for every 1024 events that have left
//! it, one position per (conversation, client), one ordinal per (conversation, sender).

mod log;
mod seen;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::HashMap;

pub(crate) use log::Reading;
pub(crate) use seen::Seen;
pub(crate) use violation::{History, Kind, Violation};

use self::log::{Log, Verdict};
use crate::payload::{ClientIx, Ordinal, Tag};

/// Numbers conversations from 0.
pub(crate) type ConvIx = u32;

/// The default of `Oracle::window_total`.
const WINDOW_TOTAL: usize = 2_000_000;
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
    /// How many log entries all windows hold together (16 bytes each).
    window_total: usize,
}

/// How much was judged: a verdict over nothing is worth nothing.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) applied: u64,
    pub(crate) read_back: u64,
    pub(crate) violations: u64,
}

#[derive(Debug)]
struct Conversation {
    name: String,
    log: Log,
    views: HashMap<ClientIx, View>,
}

/// How far one client has applied a conversation.
#[derive(Debug)]
struct View {
    last: u64,
    removed: Option<u64>,
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
        }
    }

    /// Returns the number of a conversation, new or known.
    pub(crate) fn conversation(&mut self, name: &str) -> ConvIx {
        if let Some(ix) = self.names.get(name) {
            return *ix;
        }
        let ix = self.conversations.len() as ConvIx;
        self.conversations.push(Conversation {
            name: name.to_owned(),
            log: Log::default(),
            views: HashMap::new(),
        });
        self.names.insert(name.to_owned(), ix);
        ix
    }

    /// A client's view begins: the next event that it applies is `last + 1`.
    pub(crate) fn joined(&mut self, conv: ConvIx, client: ClientIx, last: u64) {
        self.conversations[conv as usize]
            .views
            .insert(client, View { last, removed: None });
    }

    /// A client is about to send its next message.
    pub(crate) fn issue(&mut self, conv: ConvIx, client: ClientIx) -> Ordinal {
        self.counts.sent += 1;
        self.conversations[conv as usize].log.issue(client)
    }

    /// The ack of a message arrived.
    pub(crate) fn acked(&mut self, conv: ConvIx, tag: Tag, s: u64) {
        self.counts.acked += 1;
        let verdict = self.conversations[conv as usize].log.ack(tag, s);
        self.judge(verdict, conv, Some(tag.sender), s);
    }

    /// The message was refused for good.
    pub(crate) fn refused(&mut self, conv: ConvIx, tag: Tag) {
        self.counts.refused += 1;
        self.conversations[conv as usize].log.refuse(tag);
    }

    /// A client applied an event, by the client rule: its `s` is one above the last.
    pub(crate) fn applied(&mut self, conv: ConvIx, client: ClientIx, seen: &Seen) {
        self.counts.applied += 1;
        let window = self.window_total / self.conversations.len().max(1);
        let conversation = &mut self.conversations[conv as usize];
        let verdict = conversation
            .view(client, seen)
            .and_then(|()| conversation.log.see(seen, window));
        self.judge(verdict, conv, Some(client), seen.s);
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

    /// Tells whether every view of every conversation has reached the end of what is known.
    pub(crate) fn level(&self) -> bool {
        self.conversations
            .iter()
            .all(|conversation| conversation.behind().next().is_none())
    }

    /// All is sent, answered, delivered and read back: what is missing now is missing for good.
    pub(crate) fn finish(&mut self) {
        for conv in 0..self.conversations.len() {
            let conversation = &self.conversations[conv];
            let frontier = conversation.log.frontier();
            let lost: Vec<_> = conversation.log.lost().collect();
            let behind: Vec<_> = conversation.behind().collect();
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
        self.history.note(at, line);
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Sights that came too late for the window: judged by block digests alone.
    pub(crate) fn late(&self) -> u64 {
        self.conversations
            .iter()
            .map(|conversation| conversation.log.late)
            .sum()
    }
}

// === impl Conversation ===

impl Conversation {
    /// Moves a client's view on by one event.
    fn view(&mut self, client: ClientIx, seen: &Seen) -> Verdict {
        let Some(view) = self.views.get_mut(&client) else {
            return Err((Kind::Phantom, format!("client {client} is no member")));
        };
        if let Some(k) = view.removed {
            return Err((
                Kind::AfterRemoval,
                format!("client {client} was removed at s={k}"),
            ));
        }
        if seen.s != view.last + 1 {
            return Err((
                Kind::Hole,
                format!("client {client} had s={} and applies s={}", view.last, seen.s),
            ));
        }
        view.last = seen.s;
        if seen.member == Some((client, false)) {
            view.removed = Some(seen.s);
        }
        Ok(())
    }

    fn behind(&self) -> impl Iterator<Item = (ClientIx, u64)> {
        let frontier = self.log.frontier();
        self.views
            .iter()
            .filter(move |(_, view)| view.removed.is_none() && view.last < frontier)
            .map(|(client, view)| (*client, view.last))
    }
}
