//! The end of a group's log, in memory: at least every entry that isn't on disk yet.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::raft::{Entry, LogId, Vote};

/// Bytes of flushed entries kept for followers and for apply, per group.
const KEEP_BYTES: usize = 1 << 20;
/// Flushed entries kept, per group.
const KEEP_ENTRIES: usize = 512;

/// The mutable part of a log store.
#[derive(Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries below this index are on disk.
    pub(crate) flushed: u64,
    /// Counts truncations, so that the flush of an entry that was truncated meanwhile isn't taken for its successor's.
    pub(crate) generation: u64,
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
}

// === impl Tail ===

impl Tail {
    /// An empty tail behind what is on disk.
    pub(crate) fn at(vote: Option<Vote>, purged: Option<LogId>, last: Option<LogId>) -> Tail {
        let flushed = last.map_or(0, |last| last.index + 1);
        Tail {
            vote,
            purged,
            last,
            flushed,
            ..Tail::default()
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.last = Some(entry.log_id);
        self.entries.push_back(entry);
    }

    /// Index of the oldest entry in memory, if there is one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|e| e.log_id.index)
    }

    /// The entries of a range that are in memory, up to a bound in bytes but at least one.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<Entry> {
        let Some(first) = self.first() else {
            return Vec::new();
        };
        let skip = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.entries
            .iter()
            .skip(skip)
            .take_while(|e| {
                let fits = bytes == 0 || bytes < max_bytes;
                bytes += weight(e);
                fits && e.log_id.index < range.end
            })
            .cloned()
            .collect()
    }

    /// Forgets entries from `index` on.
    pub(crate) fn truncate_from(&mut self, index: u64, last: Option<LogId>) {
        while self.entries.back().is_some_and(|e| e.log_id.index >= index) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= weight(&entry);
            }
        }
        self.last = last;
        self.generation += 1;
        self.flushed = self.flushed.min(index);
    }

    /// Forgets entries up to `log_id`, which may lie above the last.
    pub(crate) fn purge_to(&mut self, log_id: LogId) {
        self.purged = Some(log_id);
        if self.last.is_none_or(|last| last.index < log_id.index) {
            self.last = Some(log_id);
        }
        self.flushed = self.flushed.max(log_id.index + 1);
        while self.first().is_some_and(|first| first <= log_id.index) {
            self.pop_front();
        }
    }

    /// Forgets what is on disk and beyond the bounds.
    pub(crate) fn evict(&mut self) {
        while (self.bytes > KEEP_BYTES || self.entries.len() > KEEP_ENTRIES)
            && self.first().is_some_and(|first| first < self.flushed)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= weight(&entry);
        }
    }
}

fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.weight(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 64,
    }
}
