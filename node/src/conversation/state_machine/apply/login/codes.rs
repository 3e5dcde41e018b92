//! Login codes: stored as hashes, used once, with a bounded number of attempts.
//!
//! Several codes of one identifier coexist, each with attempts of its own: a request for a code by a third party does
//! not invalidate the user's code. The limit on requests bounds the attempts per identifier as a whole.

use crate::conversation::state_machine::TableId;
use protocol::{ClientMessageId, ConversationId};

use super::{answer, counts, expiry, no, yes};
use crate::conversation::state_machine::apply::Result;
use crate::conversation::state_machine::apply_context::ApplyContext;
use crate::conversation::state_machine::keys;
use crate::conversation::state_machine::login::{AttemptLimit, CodeRow, SecretBytes, verdict};
use crate::conversation::state_machine::outcome::CommandResult;
use crate::conversation::state_machine::row_store::RowWriter;
use crate::conversation::state_machine::rows::VersionedRow;

/// Stores the hash of a code, unless the identifier has requested too many.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    address: &ConversationId,
    id: &ClientMessageId,
    code: &SecretBytes,
    valid_ms: u64,
    limit: AttemptLimit,
) -> Result<CommandResult> {
    let key = keys::code(address, id);
    // A retry of the same request: it must neither count again nor reset the attempts.
    if work.rows.get(TableId::UserIndex, &key)?.is_some() {
        return yes(work);
    }
    // A retry returned above, so the nonce only has to differ between codes.
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

/// Verifies a code. A used code stays until it expires, so that a retry of the successful attempt gets the same
/// verdict.
pub(super) fn attempt(
    work: &mut ApplyContext<'_, impl RowWriter>,
    address: &ConversationId,
    id: &ClientMessageId,
    code: &SecretBytes,
    attempt: u64,
    tries: u32,
) -> Result<CommandResult> {
    let key = keys::code(address, id);
    let row = work.rows.get(TableId::UserIndex, &key)?;
    let Some(mut row) = row.map(|row| CodeRow::decode(&row)).transpose()? else {
        return no(work);
    };
    // Compared with the time that a majority's clocks have reached: one fast clock must not expire a code early.
    if row.expires_ms <= work.reached_ms {
        return no(work);
    }
    if let Some(used_by) = row.used_by {
        return if used_by == attempt { yes(work) } else { no(work) };
    }
    if row.wrong >= tries {
        return no(work);
    }
    // `SecretBytes` compares in constant time, so the duration reveals no prefix of the hash.
    let right = row.code == *code;
    if right {
        row.used_by = Some(attempt);
    } else if row.wrong > 0 && row.last == attempt {
        // A retry of the last wrong attempt must not use up another attempt.
        return no(work);
    } else {
        row.wrong += 1;
        row.last = attempt;
    }
    work.rows.put(TableId::UserIndex, &key, &row.encode());
    if right { yes(work) } else { no(work) }
}
