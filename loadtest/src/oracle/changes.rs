//! Changes of messages: edits, deletions and reactions. They are log entries like messages, but their events carry no
//! client message id.
//!
//! Each client makes one change at a time, so its changes that are not in the log yet are a short queue. An event is
//! matched by its kind, its message and its content.

use std::collections::VecDeque;

use super::violation::ViolationKind;
use crate::payload::{ClientIx, Ordinal};

/// Kind of a change of an existing message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeKind {
    Edit,
    Delete,
    React,
}

/// Change of a message by a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageChange {
    pub(crate) by: ClientIx,
    pub(crate) what: ChangeKind,
    /// Position `s` of the changed message.
    pub(crate) of: u64,
    /// Digest of the new body, or of the reaction.
    pub(crate) mark: u64,
}

/// Changes of one client in one conversation.
#[derive(Debug, Default)]
pub(crate) struct MessageChanges {
    issued: Ordinal,
    /// Changes that were sent and have not been seen in the log.
    waiting: VecDeque<(Ordinal, MessageChange)>,
    /// Last change that was seen in the log, to recognize a duplicate.
    placed: Option<MessageChange>,
    /// `true` if some of the waiting changes may be in a part of the log that retention removed unseen.
    lost: bool,
    refused: Option<MessageChange>,
}

/// Bit that separates the ordinals of changes from those of messages.
pub(crate) const CHANGE: Ordinal = 1 << 31;

// === impl MessageChanges ===

impl MessageChanges {
    /// Returns the ordinal of the next change.
    pub(crate) fn next(&mut self) -> Ordinal {
        self.issued += 1;
        self.issued | CHANGE
    }

    /// Adds a change that is about to be sent.
    pub(crate) fn issue(&mut self, ordinal: Ordinal, change: MessageChange) {
        self.waiting.push_back((ordinal, change));
    }

    /// Removes a change that was refused permanently, and returns it; `None` if it is already in the log.
    pub(crate) fn refuse(&mut self, ordinal: Ordinal) -> Option<MessageChange> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == ordinal)?;
        self.refused = self.waiting.remove(at).map(|(_, change)| change);
        self.refused
    }

    /// Removes a change that was seen in the log, and returns its ordinal. Reports a duplicate, a refused change, an
    /// unknown one or a wrong order.
    pub(crate) fn position(
        &mut self,
        change: &MessageChange,
        tombstone: bool,
    ) -> Result<Ordinal, (ViolationKind, String)> {
        let same = |other: &MessageChange| {
            // A deleted message's edit has no body, so its digest proves nothing.
            let mark = tombstone || other.mark == change.mark;
            mark && other.what == change.what && other.of == change.of
        };
        let Some(at) = self.waiting.iter().position(|(_, waiting)| same(waiting)) else {
            let kind = if self.placed.as_ref().is_some_and(same) {
                ViolationKind::Duplicate
            } else if self.refused.as_ref().is_some_and(same) {
                ViolationKind::RefusedVisible
            } else {
                ViolationKind::Phantom
            };
            return Err((kind, format!("{change:?}; pending are {:?}", self.waiting)));
        };
        // The changes before it may be in a part that was removed unobserved. Without such a part, this one overtook
        // them.
        if at > 0 && self.lost {
            self.waiting.drain(..at);
        } else if at > 0 {
            return Err((
                ViolationKind::Reordered,
                format!("{change:?} arrives before {:?}", self.waiting[0]),
            ));
        }
        self.placed = Some(*change);
        // The changes before it were resolved with it, and later ones follow it in the log.
        self.lost = false;
        self.waiting
            .pop_front()
            .map(|(ordinal, _)| ordinal)
            .ok_or((ViolationKind::Phantom, String::new()))
    }

    /// Marks the waiting changes as possibly lost: part of the log was removed before any client saw it.
    pub(crate) fn lose(&mut self) {
        // Only what is pending now: later changes have positions above the removed part.
        self.lost = !self.waiting.is_empty();
    }

    /// Number of stored entries.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.waiting.len()
    }
}
