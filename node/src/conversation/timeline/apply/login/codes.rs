//! Codes: kept as hashes, used once, tried a few times.
//!
//! Several codes of one address live side by side, each with tries of its own: whoever asks for a code for a stranger's
//! address doesn't take the stranger's code away. The limit on asking bounds the tries of an address as a whole.

use protocol::{Cid, ConvId};
use storage::Table;

use super::super::super::door::RowsMut;
use super::super::super::keys;
use super::super::super::login::{CodeRow, Hidden, Limit, verdict};
use super::super::super::outcome::Applied;
use super::super::super::rows::Row;
use super::super::super::work::Work;
use super::super::Result;
use super::{answer, counts, expiry, no, yes};

/// Keeps a code.
pub(super) fn put(
    work: &mut Work<'_, impl RowsMut>,
    address: &ConvId,
    id: &Cid,
    code: &Hidden,
    valid_ms: u64,
    limit: Limit,
) -> Result<Applied> {
    let key = keys::code(address, id);
    if work.rows.get(Table::UserIndex, &key)?.is_some() {
        return yes(work);
    }
    // Repeated, it is found above; the hash is as good a name as any.
    let nonce = u64::from_be_bytes(std::array::from_fn(|i| code.0[i]));
    if let Some(wait_ms) = counts::take(work, address, nonce, limit)? {
        return Ok(answer(work, verdict::NO, wait_ms));
    }
    let expires_ms = work.now_ms.saturating_add(valid_ms);
    let row = CodeRow {
        expires_ms,
        code: code.clone(),
        wrong: 0,
        last: 0,
        used_by: None,
    };
    expiry::put(work.rows, &key, &row.encode(), None, expires_ms);
    yes(work)
}

/// Tries a code. A code that was used stays until its end, for the try that used it to be answered again.
pub(super) fn attempt(
    work: &mut Work<'_, impl RowsMut>,
    address: &ConvId,
    id: &Cid,
    code: &Hidden,
    attempt: u64,
    tries: u32,
) -> Result<Applied> {
    let key = keys::code(address, id);
    let row = work.rows.get(Table::UserIndex, &key)?;
    let Some(mut row) = row.map(|row| CodeRow::decode(&row)).transpose()? else {
        return no(work);
    };
    if row.expires_ms <= work.reached_ms {
        return no(work);
    }
    if let Some(used_by) = row.used_by {
        return if used_by == attempt { yes(work) } else { no(work) };
    }
    if row.wrong >= tries {
        return no(work);
    }
    let right = row.code == *code;
    if right {
        row.used_by = Some(attempt);
    } else if row.wrong > 0 && row.last == attempt {
        return no(work);
    } else {
        row.wrong += 1;
        row.last = attempt;
    }
    work.rows.put(Table::UserIndex, &key, &row.encode());
    if right { yes(work) } else { no(work) }
}
