//! A second reading of the log, held against what the clients saw: event by event in the window, block by block below.

use super::{BLOCK, Log, Verdict, chain};
use crate::oracle::seen::Seen;
use crate::oracle::violation::Kind;

/// A second reading of the log, from its origin, against what the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    next: u64,
    block: u64,
    bodies: u64,
    /// It passed over what is gone: the block that it is in can't be compared.
    partial: bool,
}

// === impl Log: reading ===

impl Log {
    /// A second reading passes over what is gone: it goes on with `first`.
    pub(crate) fn pass_over_reading(&self, reading: &mut Reading, first: u64) {
        reading.next = reading.next.max(first);
        reading.partial = true;
    }

    /// Compares the next event of a second reading.
    pub(crate) fn reread(&mut self, reading: &mut Reading, seen: &Seen, window: usize) -> Verdict {
        if seen.s < self.origin {
            return Ok(()); // before anybody's first sight: nothing to compare with
        }
        if reading.next == 0 && self.origin != 0 {
            reading.next = self.origin;
        }
        if reading.next != 0 && seen.s != reading.next {
            return Err((
                Kind::Hole,
                format!("read back s={} where s={} was due", seen.s, reading.next),
            ));
        }
        reading.next = seen.s + 1;
        if seen.s >= self.base {
            if !seen.deleted && self.entry(seen.s).is_some_and(|entry| entry.deleted) {
                return Err((
                    Kind::Undeleted,
                    format!("{:?} is read back with its words", seen.tag),
                ));
            }
            // Who reads everything was there from the start.
            return self.see(seen, window, false);
        }
        reading.block = chain(reading.block, seen.digest);
        if !seen.deleted && !seen.is_edit() {
            reading.bodies = chain(reading.bodies, seen.body);
        }
        let read = (seen.s - self.origin + 1) as usize;
        if read.is_multiple_of(BLOCK) {
            let known = self.blocks[read / BLOCK - 1];
            let bodies = std::mem::take(&mut reading.bodies);
            let same = known.bodies.is_none_or(|known| known == bodies);
            let block = std::mem::take(&mut reading.block);
            let partial = std::mem::take(&mut reading.partial);
            if !partial && (block != known.digest || !same) {
                return Err((
                    Kind::Fork,
                    format!("the {BLOCK} events up to s={} are read back as others", seen.s),
                ));
            }
        }
        Ok(())
    }
}
