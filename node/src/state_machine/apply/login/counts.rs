//! Attempt counters per login identifier or IP address: the times within the window, which is exact and no longer than
//! the limit.

use crate::state_machine::ChatTable;

use super::expiry;
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::{Attempt, AttemptCounterRow, AttemptLimit, LoginKey, LoginOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Largest limit, which bounds the length of a row.
const MOST: u32 = 1_000;

/// Counts one attempt, or refuses it with the time to wait.
pub(super) fn count(
    work: &mut ApplyContext<'_, impl RowWriter>,
    key: &LoginKey,
    nonce: u64,
    limit: AttemptLimit,
) -> Result<LoginOutcome> {
    match take(work, key, nonce, limit)? {
        None => Ok(LoginOutcome::Accepted),
        Some(wait_ms) => Ok(LoginOutcome::Limited { wait_ms }),
    }
}

/// Counts one attempt. Returns `None` if it is permitted, otherwise the milliseconds until the next one is.
pub(super) fn take(
    work: &mut ApplyContext<'_, impl RowWriter>,
    key: &LoginKey,
    nonce: u64,
    limit: AttemptLimit,
) -> Result<Option<u64>> {
    let key = keys::login_count(key);
    let now_ms = work.now_ms;
    let row = work.rows.get(ChatTable::Login, &key)?;
    let row = row.map(|row| AttemptCounterRow::decode(&row)).transpose()?;
    let before_ms = row.as_ref().map(|row| row.expires_ms);
    let mut asks = row.map(|row| row.asks).unwrap_or_default();
    // A retry of a counted attempt: it is permitted without counting again.
    if asks.iter().any(|ask| ask.nonce == nonce) {
        return Ok(None);
    }
    asks.retain(|ask| ask.at_ms.saturating_add(limit.window_ms) > now_ms);
    // A limit of 0 would lock out every user, and one above `MOST` would let the row grow without bound.
    let most = limit.most.clamp(1, MOST) as usize;
    if let Some(first) = asks.len().checked_sub(most) {
        let free_ms = asks[first].at_ms.saturating_add(limit.window_ms);
        return Ok(Some(free_ms.saturating_sub(now_ms).max(1)));
    }
    asks.push(Attempt { at_ms: now_ms, nonce });
    // A node with a longer window may have written the row; the attempts left in it count until that expiry.
    let expires_ms = now_ms.saturating_add(limit.window_ms).max(before_ms.unwrap_or(0));
    let row = AttemptCounterRow { expires_ms, asks };
    expiry::put(work.rows, &key, &row.encode(), before_ms, expires_ms);
    Ok(None)
}
