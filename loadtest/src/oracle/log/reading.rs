//! Second reading of a log, compared with the clients' observations: per event in the window, per block below it.

use super::{BLOCK, OracleLog, Verdict, chain};
use crate::oracle::seen::SeenEvent;
use crate::oracle::violation::ViolationKind;

/// State of a second reading of the log, which begins at the log's origin.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    next: u64,
    block: u64,
    bodies: u64,
    /// `true` after a gap by retention: the current block cannot be compared.
    partial: bool,
}

// === impl OracleLog: reading ===

impl OracleLog {
    /// Continues a reading with `first`: retention removed everything below.
    pub(crate) fn pass_over_reading(&self, reading: &mut Reading, first: u64) {
        reading.next = reading.next.max(first);
        reading.partial = true;
    }

    /// Compares the next event of a second reading.
    pub(crate) fn reread(&mut self, reading: &mut Reading, seen: &SeenEvent, window: usize) -> Verdict {
        if seen.s < self.origin {
            return Ok(()); // below every view: nothing to compare with
        }
        if reading.next == 0 && self.origin != 0 {
            reading.next = self.origin;
        }
        if reading.next != 0 && seen.s != reading.next {
            return Err((
                ViolationKind::Hole,
                format!("read back s={} where s={} was expected", seen.s, reading.next),
            ));
        }
        reading.next = seen.s + 1;
        // The window has each event, so a difference is reported with its position.
        if seen.s >= self.base {
            if !seen.deleted && self.entry(seen.s).is_some_and(|entry| entry.deleted) {
                return Err((
                    ViolationKind::Undeleted,
                    format!(
                        "{:?} is read back with its body although it was deleted",
                        seen.tag
                    ),
                ));
            }
            // The reader is a member from the start, so a missing body needs a deletion.
            return self.see(seen, window, false);
        }
        reading.block = chain(reading.block, seen.digest);
        if !seen.deleted && !seen.is_edit() {
            reading.bodies = chain(reading.bodies, seen.body);
        }
        let read = (seen.s - self.origin + 1) as usize;
        // A block's digest is known only for the whole block, so differences appear at its end.
        if read.is_multiple_of(BLOCK) {
            let known = self.blocks[read / BLOCK - 1];
            let bodies = std::mem::take(&mut reading.bodies);
            let same = known.bodies.is_none_or(|known| known == bodies);
            let block = std::mem::take(&mut reading.block);
            let partial = std::mem::take(&mut reading.partial);
            if !partial && (block != known.digest || !same) {
                return Err((
                    ViolationKind::Fork,
                    format!("the {BLOCK} events up to s={} differ when read back", seen.s),
                ));
            }
        }
        Ok(())
    }
}
