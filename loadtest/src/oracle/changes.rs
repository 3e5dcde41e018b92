//! Edits, deletions and reactions: entries of the log like messages, but without a client id in the event. Each client
//! makes one at a time, so what it has made and the log doesn't show yet is a short queue, and an event is told by what
//! it does to which message.

use std::collections::VecDeque;

use super::violation::Kind;
use crate::payload::{ClientIx, Ordinal};

/// What a client does to a message that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Edit,
    Delete,
    React,
}

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) by: ClientIx,
    pub(crate) what: What,
    /// The message's place.
    pub(crate) of: u64,
    /// A digest of the new body, or of the reaction.
    pub(crate) mark: u64,
}

/// The changes of one client in one conversation.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    issued: Ordinal,
    /// Made, and not in the log as far as it is known.
    waiting: VecDeque<(Ordinal, Change)>,
    /// The last that came into the log, and the last that was refused.
    placed: Option<Change>,
    /// Some may have been placed where nobody saw it.
    lost: bool,
    refused: Option<Change>,
}

/// Tells the ordinals of changes from those of messages.
pub(crate) const CHANGE: Ordinal = 1 << 31;

// === impl Changes ===

impl Changes {
    /// The ordinal of the next change.
    pub(crate) fn next(&mut self) -> Ordinal {
        self.issued += 1;
        self.issued | CHANGE
    }

    /// A change is about to be sent.
    pub(crate) fn issue(&mut self, ordinal: Ordinal, change: Change) {
        self.waiting.push_back((ordinal, change));
    }

    /// It will never be accepted. Returns what it was, `None` if it is in the log already.
    pub(crate) fn refuse(&mut self, ordinal: Ordinal) -> Option<Change> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == ordinal)?;
        self.refused = self.waiting.remove(at).map(|(_, change)| change);
        self.refused
    }

    /// It is in the log. `husk` says that its words were deleted before they were seen. Returns its ordinal.
    pub(crate) fn place(&mut self, change: &Change, husk: bool) -> Result<Ordinal, (Kind, String)> {
        let same = |other: &Change| {
            let mark = husk || other.mark == change.mark;
            mark && other.what == change.what && other.of == change.of
        };
        let Some(at) = self.waiting.iter().position(|(_, waiting)| same(waiting)) else {
            let kind = if self.placed.as_ref().is_some_and(same) {
                Kind::Duplicate
            } else if self.refused.as_ref().is_some_and(same) {
                Kind::RefusedShown
            } else {
                Kind::Phantom
            };
            return Err((kind, format!("{change:?}; waiting are {:?}", self.waiting)));
        };
        if at > 0 && self.lost {
            self.waiting.drain(..at);
        } else if at > 0 {
            return Err((
                Kind::Reordered,
                format!("{change:?} comes before {:?}", self.waiting[0]),
            ));
        }
        self.placed = Some(*change);
        self.lost = false;
        self.waiting
            .pop_front()
            .map(|(ordinal, _)| ordinal)
            .ok_or((Kind::Phantom, String::new()))
    }

    /// A part of the log is gone that nobody saw: what waits may be in it.
    pub(crate) fn lose(&mut self) {
        self.lost = !self.waiting.is_empty();
    }

    /// How many entries it holds.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.waiting.len()
    }
}
