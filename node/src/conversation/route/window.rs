//! The window of a lane: what is queued for a shard, what is under way to its owner, and in which order it is sent
//! again.
//!
//! Pure: no clock, no task. An entry is in exactly one place, in the order it was pushed: in a *flight* (a batch that
//! was sent and not answered) or in the queue behind all flights. [`Window::restart`] puts the flights back in front
//! of the queue under a new stream, so that the new owner sees one unbroken prefix; the client ids make the repeats
//! harmless.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// What a window needs to know of an entry.
pub(crate) trait Entry {
    /// Whose order an entry is part of.
    type Sender: Eq + Hash;

    /// Bytes it counts for.
    fn bytes(&self) -> usize;

    /// Of two entries of one sender, the later must not be applied if the earlier isn't. `None`: the entry has no
    /// order.
    fn sender(&self) -> Option<Self::Sender>;
}

/// How much a window holds and sends at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Entries in the window, flights included.
    pub(crate) entries: usize,
    /// Bytes in the window, flights included.
    pub(crate) bytes: usize,
    /// Entries in one batch.
    pub(crate) batch_entries: usize,
    /// Bytes in one batch.
    pub(crate) batch_bytes: usize,
    /// Batches under way.
    pub(crate) flights: usize,
}

/// Where a batch stands among the batches of its lane. The owner takes number `k + 1` of a stream only after `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    /// Counted up at each restart.
    pub(crate) stream: u64,
    /// Counted up from 0 within the stream.
    pub(crate) number: u64,
}

/// The window of one lane.
#[derive(Debug)]
pub(crate) struct Window<E> {
    bounds: Bounds,
    stream: u64,
    next: u64,
    flights: VecDeque<Flight<E>>,
    queue: VecDeque<Slot<E>>,
    entries: usize,
    bytes: usize,
}

/// An entry that left the window unanswered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired<E> {
    /// The entry.
    pub(crate) entry: E,
    /// Whether some owner may have applied it.
    pub(crate) unknown: bool,
}

#[derive(Debug)]
struct Slot<E> {
    entry: E,
    /// Sent once, and no owner said that it was not taken.
    unknown: bool,
}

#[derive(Debug)]
struct Flight<E> {
    number: u64,
    /// `None`: expired while under way. Positions matter, answers come by position.
    slots: Vec<Option<Slot<E>>>,
}

// === impl Window ===

impl<E: Entry> Window<E> {
    pub(crate) fn new(bounds: Bounds) -> Window<E> {
        Window {
            bounds,
            stream: 0,
            next: 0,
            flights: VecDeque::new(),
            queue: VecDeque::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Entries in the window, flights included.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries
    }

    /// Batches under way.
    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether something waits to be sent.
    pub(crate) fn waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Appends an entry, or gives it back when the window is full.
    pub(crate) fn push(&mut self, entry: E) -> Result<(), E> {
        let bytes = entry.bytes();
        if self.entries >= self.bounds.entries || self.bytes + bytes > self.bounds.bytes {
            return Err(entry);
        }
        self.entries += 1;
        self.bytes += bytes;
        self.queue.push_back(Slot {
            entry,
            unknown: false,
        });
        Ok(())
    }

    /// Moves what fits in one batch from the queue into a flight, and hands each entry to `each`. `None` when nothing
    /// waits or enough is under way.
    pub(crate) fn launch(&mut self, mut each: impl FnMut(&E)) -> Option<Tag> {
        if self.queue.is_empty() || self.flights.len() >= self.bounds.flights {
            return None;
        }
        let mut slots = Vec::with_capacity(self.queue.len().min(self.bounds.batch_entries));
        let mut bytes = 0;
        while let Some(slot) = self.queue.front() {
            bytes += slot.entry.bytes();
            if !slots.is_empty()
                && (slots.len() >= self.bounds.batch_entries || bytes > self.bounds.batch_bytes)
            {
                break;
            }
            each(&slot.entry);
            slots.push(self.queue.pop_front());
        }
        let tag = Tag {
            stream: self.stream,
            number: self.next,
        };
        self.next += 1;
        self.flights.push_back(Flight {
            number: tag.number,
            slots,
        });
        Some(tag)
    }

    /// Takes the entries of an answered batch, by position. `None` for a batch of an abandoned stream.
    pub(crate) fn answered(&mut self, tag: Tag) -> Option<Vec<Option<E>>> {
        if tag.stream != self.stream {
            return None;
        }
        let at = self
            .flights
            .iter()
            .position(|flight| flight.number == tag.number)?;
        let flight = self.flights.remove(at)?;
        Some(
            flight
                .slots
                .into_iter()
                .map(|slot| slot.map(|slot| self.release(slot.entry)))
                .collect(),
        )
    }

    /// Abandons the stream: everything unanswered will be sent again, in order, under a new one. `refused` names a
    /// batch that the owner certainly didn't take; all others that were under way may have been applied.
    pub(crate) fn restart(&mut self, refused: Option<Tag>) {
        let refused = refused
            .filter(|tag| tag.stream == self.stream)
            .map(|tag| tag.number);
        while let Some(flight) = self.flights.pop_back() {
            // The owner takes batches in order: what follows a refused one was not taken either.
            let certain = refused.is_some_and(|number| flight.number >= number);
            for mut slot in flight.slots.into_iter().rev().flatten() {
                slot.unknown |= !certain;
                self.queue.push_front(slot);
            }
        }
        self.stream += 1;
        self.next = 0;
    }

    /// The entry that has been in the window for the longest time.
    pub(crate) fn oldest(&self) -> Option<&E> {
        self.flights
            .iter()
            .flat_map(|flight| flight.slots.iter().flatten())
            .chain(self.queue.iter())
            .map(|slot| &slot.entry)
            .next()
    }

    /// Removes every entry for which `overdue` holds, and everything behind it of the same
    /// [sender](Entry::sender).
    pub(crate) fn expire(&mut self, overdue: impl Fn(&E) -> bool) -> Vec<Expired<E>> {
        let mut gone: Vec<Expired<E>> = Vec::new();
        let mut senders: HashSet<E::Sender> = HashSet::new();
        let mut doomed = |entry: &E| {
            let sender = entry.sender();
            let doomed = overdue(entry) || sender.as_ref().is_some_and(|sender| senders.contains(sender));
            if doomed {
                senders.extend(sender);
            }
            doomed
        };
        for flight in &mut self.flights {
            for place in &mut flight.slots {
                if let Some(slot) = place.take_if(|slot| doomed(&slot.entry)) {
                    gone.push(Expired {
                        entry: slot.entry,
                        unknown: true,
                    });
                }
            }
        }
        for slot in std::mem::take(&mut self.queue) {
            if doomed(&slot.entry) {
                gone.push(Expired {
                    entry: slot.entry,
                    unknown: slot.unknown,
                });
            } else {
                self.queue.push_back(slot);
            }
        }
        for expired in &gone {
            self.entries -= 1;
            self.bytes -= expired.entry.bytes();
        }
        gone
    }

    fn release(&mut self, entry: E) -> E {
        self.entries -= 1;
        self.bytes -= entry.bytes();
        entry
    }
}

#[cfg(test)]
mod tests;
