//! Archive of the events below the window, at eight bytes per event.
//!
//! It detects a wrong late observation or ack, with a false match in one of four billion.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::payload::MessageTag;

/// Bounded queue of the events below the window.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// `s` of the first event.
    first: u64,
    events: VecDeque<Archived>,
}

/// Digest and message of one archived event, at 32 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Archived {
    digest: u32,
    tag: u32,
}

// === impl Archive ===

impl Archive {
    /// Appends the event at `s`, which follows the last one. Holds at most `room` events and evicts the oldest.
    pub(super) fn push(&mut self, s: u64, event: Archived, room: usize) {
        if self.events.is_empty() {
            self.first = s;
        }
        self.events.push_back(event);
        // More than one: `room` shrinks with every conversation that is added to the run.
        while self.events.len() > room {
            self.events.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn get(&self, s: u64) -> Option<Archived> {
        self.events.get(s.checked_sub(self.first)? as usize).copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

// === impl Archived ===

impl Archived {
    pub(super) fn new(digest: u64, tag: Option<MessageTag>) -> Archived {
        Archived {
            digest: fold(digest),
            tag: tag.map_or(0, mark),
        }
    }

    pub(super) fn is(self, digest: u64) -> bool {
        self.digest == fold(digest)
    }

    pub(super) fn is_of(self, tag: MessageTag) -> bool {
        self.tag == mark(tag)
    }
}

fn fold(digest: u64) -> u32 {
    (digest ^ (digest >> 32)) as u32
}

fn mark(tag: MessageTag) -> u32 {
    let both = u64::from(tag.sender) << 32 | u64::from(tag.ordinal);
    fold(xxh3_64(&both.to_le_bytes())).max(1) // 0 stands for "none"
}
