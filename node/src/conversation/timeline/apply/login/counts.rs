//! How often an address or an IP has asked for a code: a list of the times within the window, which is exact and as
//! short as the limit.

use protocol::ConvId;
use storage::Table;

use super::super::super::door::RowsMut;
use super::super::super::keys;
use super::super::super::login::{Ask, CountRow, Limit, verdict};
use super::super::super::outcome::Applied;
use super::super::super::rows::Row;
use super::super::super::work::Work;
use super::super::Result;
use super::{answer, expiry, yes};

/// The largest limit: a row is no longer than this.
const MOST: u32 = 1_000;

/// Counts one more, or refuses it.
pub(super) fn count(
    work: &mut Work<'_, impl RowsMut>,
    name: &ConvId,
    nonce: u64,
    limit: Limit,
) -> Result<Applied> {
    match take(work, name, nonce, limit)? {
        None => yes(work),
        Some(wait_ms) => Ok(answer(work, verdict::NO, wait_ms)),
    }
}

/// Counts one more. `Some`: how long to wait for there to be room.
pub(super) fn take(
    work: &mut Work<'_, impl RowsMut>,
    name: &ConvId,
    nonce: u64,
    limit: Limit,
) -> Result<Option<u64>> {
    let key = keys::count(name);
    let now_ms = work.now_ms;
    let row = work.rows.get(Table::UserIndex, &key)?;
    let row = row.map(|row| CountRow::decode(&row)).transpose()?;
    let before_ms = row.as_ref().map(|row| row.expires_ms);
    let mut asks = row.map(|row| row.asks).unwrap_or_default();
    if asks.iter().any(|ask| ask.nonce == nonce) {
        return Ok(None);
    }
    asks.retain(|ask| ask.at_ms.saturating_add(limit.window_ms) > now_ms);
    let most = limit.most.clamp(1, MOST) as usize;
    if let Some(first) = asks.len().checked_sub(most) {
        let free_ms = asks[first].at_ms.saturating_add(limit.window_ms);
        return Ok(Some(free_ms.saturating_sub(now_ms).max(1)));
    }
    asks.push(Ask { at_ms: now_ms, nonce });
    let expires_ms = now_ms.saturating_add(limit.window_ms).max(before_ms.unwrap_or(0));
    let row = CountRow { expires_ms, asks };
    expiry::put(work.rows, &key, &row.encode(), before_ms, expires_ms);
    Ok(None)
}
