//! Client message ids: kept for 72 hours of replicated time, and at least the newest 1,000 per user and conversation.
//!
//! Rows are found by cid, so they don't lie in the order of their age, and a second table in that order would cost
//! every message a write. Instead a sweep walks over the user's rows, a few for each that is added, and only once
//! something can have expired: a sender pays nothing for the first 72 hours, and about two row reads per message
//! afterwards. At most about as many expired rows lie about as live ones.

use protocol::Cid;
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::door::RowsMut;
use super::keys;
use super::rows::{DedupRow, Row};

/// How long a cid is kept at least, in milliseconds of replicated time.
pub(super) const KEEP_MS: u64 = 72 * 3600 * 1000;
/// How many of a user's newest cids are kept at least.
pub(super) const KEEP: u64 = 1_000;
/// A sweep goes on once per so many additions …
const SWEEP_EVERY: u64 = 64;
/// … and looks at so many rows: twice as many, so that it overtakes the growth.
const SWEEP_ROWS: usize = 128;

/// How many cids a user has used, and how far the sweep is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dedups {
    /// Cids so far.
    next: u64,
    /// No row is older than this.
    oldest_ts: u64,
    /// The oldest row that the running sweep has left.
    sweep_oldest_ts: u64,
    /// Where the running sweep goes on; empty between sweeps.
    cursor: Vec<u8>,
}

// === impl Dedups ===

impl Dedups {
    /// Adds the first result of `cid` and sweeps a little, of what has expired at `reached_ms`. `row.k` is set here.
    pub(super) fn add(
        &mut self,
        rows: &mut impl RowsMut,
        scope: &[u8],
        cid: &Cid,
        mut row: DedupRow,
        reached_ms: u64,
    ) -> Result<(), storage::Error> {
        if self.next == 0 {
            self.oldest_ts = row.ts;
        }
        row.k = self.next;
        self.next += 1;
        rows.put(Table::Dedup, &keys::dedup(scope, cid), &row.encode());
        let something_expired = self.next > KEEP && self.oldest_ts.saturating_add(KEEP_MS) < reached_ms;
        if self.next.is_multiple_of(SWEEP_EVERY) && something_expired {
            self.sweep(rows, scope, row.ts, reached_ms)?;
        }
        Ok(())
    }

    fn sweep(
        &mut self,
        rows: &mut impl RowsMut,
        scope: &[u8],
        newest_ts: u64,
        reached_ms: u64,
    ) -> Result<(), storage::Error> {
        if self.cursor.is_empty() {
            self.cursor = scope.to_vec();
            self.sweep_oldest_ts = newest_ts;
        }
        let mut end = scope.to_vec();
        // The scope ends with a zero byte.
        end.pop();
        end.push(1);
        let found = rows.scan(Table::Dedup, &self.cursor..&end, Order::Ascending, SWEEP_ROWS)?;
        for (key, value) in &found {
            let row = DedupRow::decode(value)?;
            if row.ts.saturating_add(KEEP_MS) < reached_ms && row.k + KEEP < self.next {
                rows.delete(Table::Dedup, key);
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
                self.oldest_ts = self.sweep_oldest_ts;
            }
        }
        Ok(())
    }
}
