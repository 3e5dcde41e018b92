//! Counts in a log: messages between two positions, deleted ones, and times of sending. Events that retention removed
//! unseen cannot be counted.

use super::{LogEntry, OracleLog, UNKNOWN, Verdict};
use crate::clock::Nanos;

// === impl OracleLog: counts ===

impl OracleLog {
    /// Returns the number of messages up to and including `s`; `None` if the log is not known there (any longer).
    pub(crate) fn messages_up_to(&self, s: u64) -> Option<u64> {
        if s < self.origin || self.origin == 0 {
            // No message precedes the origin if the first observed one has the ordinal 1.
            return self.first_mn.is_none_or(|mn| mn == 1).then_some(0);
        }
        let known = self.entry(s).filter(|_| s <= self.frontier)?;
        (known.mn != UNKNOWN).then_some(known.mn)
    }

    /// Returns the number of messages above `from`, up to and including `to`.
    pub(crate) fn messages_between(&self, from: u64, to: u64) -> Option<u64> {
        // In a broken log the ordinals may decrease. The break is reported already, so there is no count.
        self.messages_up_to(to)?
            .checked_sub(self.messages_up_to(from.min(to))?)
    }

    /// Returns the number of messages above `from` up to `to` whose deletion has a position up to `by`.
    pub(crate) fn deleted_between(&self, from: u64, to: u64, by: u64) -> u64 {
        // A range whose end is below its start panics; the filter removes the extra element.
        let deletions = self
            .deletions
            .range(from.saturating_add(1)..=to.max(from.saturating_add(1)));
        deletions.filter(|(of, at)| **of <= to && **at <= by).count() as u64
    }

    /// Returns the position of the last message.
    pub(crate) fn last_message(&self) -> u64 {
        self.last_message
    }

    /// Returns the number of known messages above `s`.
    pub(crate) fn messages_above(&self, s: u64) -> Option<u64> {
        self.messages_between(s, self.frontier)
    }

    /// Returns the due time of the last sampled message up to `s`.
    pub(crate) fn sent_up_to(&self, s: u64) -> Option<Nanos> {
        let at = self.sent.partition_point(|(sent, _)| *sent <= s);
        Some(self.sent.get(at.checked_sub(1)?)?.1)
    }

    /// Returns a position at or above the end of the log at `time`, and `true` if the log is known that far.
    pub(crate) fn known_at(&self, time: Nanos) -> (u64, bool) {
        let at = self.sent.partition_point(|(_, sent)| *sent <= time);
        match self.sent.get(at) {
            Some((s, _)) => (*s, true),
            None => (self.frontier, false),
        }
    }

    /// Returns the number of messages above `from` up to `to` that were certainly sent after `time`.
    pub(crate) fn sent_after(&self, from: u64, to: u64, time: Nanos) -> u64 {
        let first = self.sent.iter().find(|(s, sent)| *s > from && *sent > time);
        first
            .and_then(|(s, _)| self.messages_between(s - 1, to.max(*s)))
            .unwrap_or(0)
    }

    /// Advances the frontier to `to`: retention removed everything up to there, so no further client can observe it.
    /// Events observed above `to` are judged now, as they waited for nothing else.
    pub(crate) fn pass_over(&mut self, to: u64) -> Verdict {
        if self.origin == 0 || self.frontier >= to {
            return Ok(());
        }
        let known = self.window.len().min((self.frontier + 1 - self.base) as usize);
        self.window.resize(
            self.window.len().max((to + 1 - self.base) as usize),
            LogEntry::default(),
        );
        // Entries that one client observed before the removal remain comparable, but have no count.
        let passed = self.window.range_mut(known..(to + 1 - self.base) as usize);
        passed.for_each(|entry| entry.mn = UNKNOWN);
        self.frontier = to;
        (self.mn, self.mn_lost) = (None, true);
        // Acks up to there are dropped: without the events they would be reported as lost.
        self.ahead = self.ahead.split_off(&(to + 1));
        self.acked = self.acked.split_off(&(to + 1));
        // A pending change may be in the removed part, so its absence proves nothing.
        self.senders.values_mut().for_each(|sender| sender.changes.lose());
        self.judge_ahead()
    }
}
