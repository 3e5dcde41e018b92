//! Send window of a command queue: queued items, sent batches, and the order in which they are resent.
//!
//! Pure: no clock, no task. Each item is held once, in the order of insertion: in an unacknowledged batch, or in the
//! queue behind all of these. [`SendWindow::restart`] moves the sent batches back in front of the queue under a new
//! stream, so that the new owner gets one unbroken prefix. The client message ids make the repeats harmless.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use crate::rpc::submit::BatchSeq;

/// Properties of an item that the window uses.
pub(crate) trait WindowItem {
    /// Key of the order that an item belongs to.
    type CommandSender: Eq + Hash;

    /// Size that counts towards the bounds.
    fn bytes(&self) -> usize;

    /// Key of the item's order, or `None` if it has none. Of two items with the same key, the later must not be applied
    /// without the earlier.
    fn sender(&self) -> Option<Self::CommandSender>;
}

/// Bounds of a window and of its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowLimits {
    /// Items in the window, sent ones included.
    pub(crate) entries: usize,
    /// Bytes in the window, sent ones included.
    pub(crate) bytes: usize,
    /// Items in one batch.
    pub(crate) batch_entries: usize,
    /// Bytes in one batch.
    pub(crate) batch_bytes: usize,
    /// Batches without a response.
    pub(crate) flights: usize,
}

/// Send window of one command queue.
#[derive(Debug)]
pub(crate) struct SendWindow<E> {
    bounds: WindowLimits,
    stream: u64,
    next: u64,
    flights: VecDeque<SentBatch<E>>,
    queue: VecDeque<WindowSlot<E>>,
    entries: usize,
    bytes: usize,
}

/// Item that left the window without a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpiredItems<E> {
    pub(crate) entry: E,
    /// True if an owner may have applied it.
    pub(crate) unknown: bool,
}

#[derive(Debug)]
struct WindowSlot<E> {
    entry: E,
    /// True if the item was sent and no owner has excluded that it was applied.
    unknown: bool,
}

#[derive(Debug)]
struct SentBatch<E> {
    number: u64,
    /// `None` marks an item that expired after it was sent; responses are matched by position.
    slots: Vec<Option<WindowSlot<E>>>,
}

// === impl SendWindow ===

impl<E: WindowItem> SendWindow<E> {
    pub(crate) fn new(bounds: WindowLimits) -> SendWindow<E> {
        SendWindow {
            bounds,
            stream: 0,
            next: 0,
            flights: VecDeque::new(),
            queue: VecDeque::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Number of items in the window, sent ones included.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries
    }

    /// Number of batches without a response.
    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Returns true if items are queued.
    pub(crate) fn waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Appends an item, or returns it if the window is full.
    pub(crate) fn push(&mut self, entry: E) -> Result<(), E> {
        let bytes = entry.bytes();
        if self.entries >= self.bounds.entries || self.bytes + bytes > self.bounds.bytes {
            return Err(entry);
        }
        self.entries += 1;
        self.bytes += bytes;
        self.queue.push_back(WindowSlot {
            entry,
            unknown: false,
        });
        Ok(())
    }

    /// Moves queued items into a new batch, as far as they fit, and passes each to `each`. Returns `None` if nothing is
    /// queued or enough batches are sent.
    pub(crate) fn launch(&mut self, mut each: impl FnMut(&E)) -> Option<BatchSeq> {
        if self.queue.is_empty() || self.flights.len() >= self.bounds.flights {
            return None;
        }
        let mut slots = Vec::with_capacity(self.queue.len().min(self.bounds.batch_entries));
        let mut bytes = 0;
        while let Some(slot) = self.queue.front() {
            bytes += slot.entry.bytes();
            // The first item always fits: one above the byte bound would otherwise block the queue.
            if !slots.is_empty()
                && (slots.len() >= self.bounds.batch_entries || bytes > self.bounds.batch_bytes)
            {
                break;
            }
            each(&slot.entry);
            slots.push(self.queue.pop_front());
        }
        let tag = BatchSeq {
            stream: self.stream,
            number: self.next,
        };
        self.next += 1;
        self.flights.push_back(SentBatch {
            number: tag.number,
            slots,
        });
        Some(tag)
    }

    /// Removes and returns the items of an acknowledged batch, by position. Returns `None` for a batch of an earlier
    /// stream.
    pub(crate) fn answered(&mut self, tag: BatchSeq) -> Option<Vec<Option<E>>> {
        if tag.stream != self.stream {
            return None;
        }
        // Batches may be answered out of order; only their admission is in order.
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

    /// Starts a new stream, under which everything unacknowledged is sent again in order. `refused` names a batch that
    /// the shard owner has certainly not admitted; all other sent ones may have been applied.
    pub(crate) fn restart(&mut self, refused: Option<BatchSeq>) {
        let refused = refused
            .filter(|tag| tag.stream == self.stream)
            .map(|tag| tag.number);
        // From the last batch to the first, each reversed: pushed to the front, the items regain their order.
        while let Some(flight) = self.flights.pop_back() {
            // The owner admits batches in order: those behind a refused one were not admitted either.
            let certain = refused.is_some_and(|number| flight.number >= number);
            for mut slot in flight.slots.into_iter().rev().flatten() {
                // Never cleared: an earlier attempt of the item may still be applied.
                slot.unknown |= !certain;
                self.queue.push_front(slot);
            }
        }
        self.stream += 1;
        self.next = 0;
    }

    /// Returns the item that has been in the window for the longest time.
    pub(crate) fn oldest(&self) -> Option<&E> {
        self.flights
            .iter()
            .flat_map(|flight| flight.slots.iter().flatten())
            .chain(self.queue.iter())
            .map(|slot| &slot.entry)
            .next()
    }

    /// Removes every item for which `overdue` returns true, and everything behind it with the same key
    /// (`WindowItem::sender`).
    pub(crate) fn expire(&mut self, overdue: impl Fn(&E) -> bool) -> Vec<ExpiredItems<E>> {
        let mut gone: Vec<ExpiredItems<E>> = Vec::new();
        let mut senders: HashSet<E::CommandSender> = HashSet::new();
        let mut doomed = |entry: &E| {
            let sender = entry.sender();
            // A later item of the sender must not be applied without the expired one.
            let doomed = overdue(entry) || sender.as_ref().is_some_and(|sender| senders.contains(sender));
            if doomed {
                senders.extend(sender);
            }
            doomed
        };
        for flight in &mut self.flights {
            for slot in &mut flight.slots {
                // The slot stays, empty: responses of the batch are matched by position.
                if let Some(slot) = slot.take_if(|slot| doomed(&slot.entry)) {
                    gone.push(ExpiredItems {
                        entry: slot.entry,
                        unknown: true,
                    });
                }
            }
        }
        for slot in std::mem::take(&mut self.queue) {
            if doomed(&slot.entry) {
                gone.push(ExpiredItems {
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
