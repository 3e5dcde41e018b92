//! Counting in a log: how many messages there are between two places, how many of them were deleted, when they were sent;
//! and what nobody can count because it was gone before anybody saw it.

use super::{Entry, Log, UNKNOWN, Verdict};
use crate::clock::Nanos;

// === impl Log: counts ===

impl Log {
    /// How many messages there are up to and including `s`; `None` where the log isn't known (any more).
    pub(crate) fn messages_up_to(&self, s: u64) -> Option<u64> {
        if s < self.origin || self.origin == 0 {
            // Before anybody's first sight there was no message, if the first one that was seen is the first.
            return self.first_mn.is_none_or(|mn| mn == 1).then_some(0);
        }
        let known = self.entry(s).filter(|_| s <= self.frontier)?;
        (known.mn != UNKNOWN).then_some(known.mn)
    }

    /// How many messages there are above `from` up to and including `to`.
    pub(crate) fn messages_between(&self, from: u64, to: u64) -> Option<u64> {
        // Of a log that is broken already nothing can be counted.
        self.messages_up_to(to)?
            .checked_sub(self.messages_up_to(from.min(to))?)
    }

    /// How many of the messages above `from` up to `to` were deleted up to `by`.
    pub(crate) fn deleted_between(&self, from: u64, to: u64, by: u64) -> u64 {
        let deletions = self
            .deletions
            .range(from.saturating_add(1)..=to.max(from.saturating_add(1)));
        deletions.filter(|(of, at)| **of <= to && **at <= by).count() as u64
    }

    /// The place of the last message.
    pub(crate) fn last_message(&self) -> u64 {
        self.last_message
    }

    /// How many messages there are above `s` as far as the log is known.
    pub(crate) fn messages_above(&self, s: u64) -> Option<u64> {
        self.messages_between(s, self.frontier)
    }

    /// When the last message up to `s` of which it is known was due at its sender.
    pub(crate) fn sent_up_to(&self, s: u64) -> Option<Nanos> {
        let at = self.sent.partition_point(|(sent, _)| *sent <= s);
        Some(self.sent.get(at.checked_sub(1)?)?.1)
    }

    /// The end of the log at a time, or later; and whether it is known that far.
    pub(crate) fn known_at(&self, time: Nanos) -> (u64, bool) {
        let at = self.sent.partition_point(|(_, sent)| *sent <= time);
        match self.sent.get(at) {
            Some((s, _)) => (*s, true),
            None => (self.frontier, false),
        }
    }

    /// How many messages above `from` up to `to` were surely sent after `time`.
    pub(crate) fn sent_after(&self, from: u64, to: u64, time: Nanos) -> u64 {
        let first = self.sent.iter().find(|(s, sent)| *s > from && *sent > time);
        first
            .and_then(|(s, _)| self.messages_between(s - 1, to.max(*s)))
            .unwrap_or(0)
    }

    /// Everything up to `to` is gone, and will be seen by nobody who hasn't yet. What was seen above it is judged now: it
    /// waited for nothing else.
    pub(crate) fn pass_over(&mut self, to: u64) -> Verdict {
        if self.origin == 0 || self.frontier >= to {
            return Ok(());
        }
        let known = self.window.len().min((self.frontier + 1 - self.base) as usize);
        self.window.resize(
            self.window.len().max((to + 1 - self.base) as usize),
            Entry::default(),
        );
        let passed = self.window.range_mut(known..(to + 1 - self.base) as usize);
        passed.for_each(|entry| entry.mn = UNKNOWN);
        self.frontier = to;
        (self.mn, self.mn_lost) = (None, true);
        self.ahead = self.ahead.split_off(&(to + 1));
        self.acked = self.acked.split_off(&(to + 1));
        self.senders.values_mut().for_each(|sender| sender.changes.lose());
        self.judge_ahead()
    }
}
