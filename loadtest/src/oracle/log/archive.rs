//! What has left the window, eight bytes for each event: enough to judge a late sight or a late ack exactly, to one in
//! four billion.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::payload::Tag;

/// The events below the window, as far back as there is room.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// The `s` of the first.
    first: u64,
    events: VecDeque<Archived>,
}

/// One event that has left the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Archived {
    digest: u32,
    tag: u32,
}

// === impl Archive ===

impl Archive {
    /// Adds the event at `s`, the one after the last. `room` is how many to keep.
    pub(super) fn push(&mut self, s: u64, event: Archived, room: usize) {
        if self.events.is_empty() {
            self.first = s;
        }
        self.events.push_back(event);
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
    pub(super) fn new(digest: u64, tag: Option<Tag>) -> Archived {
        Archived {
            digest: fold(digest),
            tag: tag.map_or(0, mark),
        }
    }

    pub(super) fn is(self, digest: u64) -> bool {
        self.digest == fold(digest)
    }

    pub(super) fn is_of(self, tag: Tag) -> bool {
        self.tag == mark(tag)
    }
}

fn fold(digest: u64) -> u32 {
    (digest ^ (digest >> 32)) as u32
}

fn mark(tag: Tag) -> u32 {
    let both = u64::from(tag.sender) << 32 | u64::from(tag.ordinal);
    fold(xxh3_64(&both.to_le_bytes())).max(1) // 0 stands for "none"
}
