//! In-memory end of a group's log: every entry that is not on disk yet, and recently flushed ones.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::raft::{Entry, LogId, Vote};

/// Maximum bytes of flushed entries retained for followers and for apply, per group.
const KEEP_BYTES: usize = 1 << 20;
/// Maximum number of flushed entries retained, per group.
const KEEP_ENTRIES: usize = 512;

/// Mutable part of a log store.
#[derive(Default)]
pub(crate) struct UnflushedLog {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// First index that is not on disk; all lower entries are.
    pub(crate) flushed: u64,
    /// Number of truncations. Distinguishes a truncated entry's flush from the flush of the entry that replaced it.
    pub(crate) generation: u64,
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
}

// === impl UnflushedLog ===

impl UnflushedLog {
    /// Creates an empty buffer for a log whose entries up to `last` are on disk.
    pub(crate) fn at(vote: Option<Vote>, purged: Option<LogId>, last: Option<LogId>) -> UnflushedLog {
        let flushed = last.map_or(0, |last| last.index + 1);
        UnflushedLog {
            vote,
            purged,
            last,
            flushed,
            ..UnflushedLog::default()
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.last = Some(entry.log_id);
        self.entries.push_back(entry);
    }

    /// Returns the index of the oldest entry in memory.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|e| e.log_id.index)
    }

    /// Returns the entries of a range that are in memory, up to a bound in bytes but at least one.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<Entry> {
        let Some(first) = self.first() else {
            return Vec::new();
        };
        // The range may begin below the oldest entry in memory; then the result begins with that one.
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

    /// Removes the entries from `index` on.
    pub(crate) fn truncate_from(&mut self, index: u64, last: Option<LogId>) {
        while self.entries.back().is_some_and(|e| e.log_id.index >= index) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= weight(&entry);
            }
        }
        self.last = last;
        self.generation += 1;
        // Entries that replace the truncated ones are not on disk, even if the truncated ones were.
        self.flushed = self.flushed.min(index);
    }

    /// Removes the entries up to `log_id`, which may lie above the last one.
    pub(crate) fn purge_to(&mut self, log_id: LogId) {
        self.purged = Some(log_id);
        // A snapshot can be ahead of the log: the log then continues behind the snapshot's position.
        if self.last.is_none_or(|last| last.index < log_id.index) {
            self.last = Some(log_id);
        }
        self.flushed = self.flushed.max(log_id.index + 1);
        while self.first().is_some_and(|first| first <= log_id.index) {
            self.pop_front();
        }
    }

    /// Evicts the oldest flushed entries while the buffer exceeds its bounds. Unflushed entries stay, whatever their
    /// size.
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
