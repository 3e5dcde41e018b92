//! Dedup rows of client message ids: retained for 72 hours of replicated time, and at least the newest 1,000 per user
//! and conversation.
//!
//! Rows are keyed by `cid`, not by age, and a second table ordered by age would cost a write per message. A sweep
//! therefore walks the user's rows, a few per addition, and only once a row can have expired. A sender pays nothing for
//! the first 72 hours, and about two row reads per message afterwards. Expired rows are about as many as live ones at
//! most.

use super::ChatTable;
use protocol::ClientMessageId;
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::keys;
use super::row_store::RowWriter;
use super::rows::{DedupRow, VersionedRow};

/// Minimum time for which a `cid` is retained, in milliseconds of replicated time.
pub(super) const KEEP_MS: u64 = 72 * 3600 * 1000;
/// Minimum number of a user's newest `cid`s that are retained.
pub(super) const KEEP: u64 = 1_000;
/// Number of additions between two steps of a sweep.
const SWEEP_EVERY: u64 = 64;
/// Rows per step of a sweep: twice [`SWEEP_EVERY`], so that the sweep overtakes the growth.
const SWEEP_ROWS: usize = 128;

/// Number of `cid`s that a user has used, and progress of the sweep.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dedups {
    /// Ordinal of the next `cid`.
    next: u64,
    /// Lower bound of the times of all rows, in milliseconds.
    oldest_ts: u64,
    /// Oldest time that the running sweep has retained.
    sweep_oldest_ts: u64,
    /// Key at which the running sweep resumes; empty between sweeps.
    cursor: Vec<u8>,
}

// === impl Dedups ===

impl Dedups {
    /// Stores the first result of `cid`, and sweeps a few rows that have expired at `reached_ms`. Sets `row.k`.
    pub(super) fn add(
        &mut self,
        rows: &mut impl RowWriter,
        scope: &[u8],
        cid: &ClientMessageId,
        mut row: DedupRow,
        reached_ms: u64,
    ) -> Result<(), storage::Error> {
        if self.next == 0 {
            self.oldest_ts = row.ts;
        }
        row.k = self.next;
        self.next += 1;
        rows.put(ChatTable::Dedup, &keys::dedup(scope, cid), &row.encode());
        // Within the first 72 hours or 1,000 ids nothing can be removed, so the sweep is skipped.
        let something_expired = self.next > KEEP && self.oldest_ts.saturating_add(KEEP_MS) < reached_ms;
        if self.next.is_multiple_of(SWEEP_EVERY) && something_expired {
            self.sweep(rows, scope, row.ts, reached_ms)?;
        }
        Ok(())
    }

    fn sweep(
        &mut self,
        rows: &mut impl RowWriter,
        scope: &[u8],
        newest_ts: u64,
        reached_ms: u64,
    ) -> Result<(), storage::Error> {
        if self.cursor.is_empty() {
            self.cursor = scope.to_vec();
            self.sweep_oldest_ts = newest_ts;
        }
        let mut end = scope.to_vec();
        // The scope ends with a zero byte, so incrementing that byte gives the end of its range.
        end.pop();
        end.push(1);
        let found = rows.scan(
            ChatTable::Dedup,
            &self.cursor..&end,
            ScanOrder::Ascending,
            SWEEP_ROWS,
        )?;
        for (key, value) in &found {
            let row = DedupRow::decode(value)?;
            // Both conditions hold for a deletion: 72 hours by the majority's clock, and 1,000 newer keys.
            if row.ts.saturating_add(KEEP_MS) < reached_ms && row.k + KEEP < self.next {
                rows.delete(ChatTable::Dedup, key);
            } else {
                self.sweep_oldest_ts = self.sweep_oldest_ts.min(row.ts);
            }
        }
        match found.last() {
            Some((key, _)) if found.len() == SWEEP_ROWS => {
                self.cursor = key.to_vec();
                self.cursor.push(0);
            }
            _ => {
                self.cursor = Vec::new();
                // Rows added since the sweep began are not older than its first bound, so the bound holds for them too.
                self.oldest_ts = self.sweep_oldest_ts;
            }
        }
        Ok(())
    }
}
