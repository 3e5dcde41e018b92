//! Login codes: stored as hashes, used once, with a bounded number of attempts.
//!
//! Several codes of one identifier coexist, each with attempts of its own: a request for a code by a third party does
//! not invalidate the user's code. The limit on requests bounds the attempts per identifier as a whole.

use crate::state_machine::ChatTable;

use super::{counts, expiry};
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::{AttemptLimit, CodeRow, LoginCodeId, LoginKey, LoginOutcome, SecretBytes};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Stores the hash of a code, unless the identifier has requested too many.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    identifier: &LoginKey,
    id: LoginCodeId,
    code: &SecretBytes,
    valid_ms: u64,
    limit: AttemptLimit,
) -> Result<LoginOutcome> {
    let key = keys::login_code(identifier, id);
    // A retry of the same request: it must neither count again nor reset the attempts.
    if work.rows.get(ChatTable::Login, &key)?.is_some() {
        return Ok(LoginOutcome::Accepted);
    }
    // A retry returned above, so the nonce only has to differ between codes.
    let nonce = u64::from_be_bytes(std::array::from_fn(|i| code.0[i]));
    if let Some(wait_ms) = counts::take(work, identifier, nonce, limit)? {
        return Ok(LoginOutcome::Limited { wait_ms });
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
    Ok(LoginOutcome::Accepted)
}

/// Verifies a code. A used code stays until it expires, so that a retry of the successful attempt gets the same
/// verdict.
pub(super) fn attempt(
    work: &mut ApplyContext<'_, impl RowWriter>,
    identifier: &LoginKey,
    id: LoginCodeId,
    code: &SecretBytes,
    attempt: u64,
    tries: u32,
) -> Result<LoginOutcome> {
    let key = keys::login_code(identifier, id);
    let row = work.rows.get(ChatTable::Login, &key)?;
    let Some(mut row) = row.map(|row| CodeRow::decode(&row)).transpose()? else {
        return Ok(LoginOutcome::Refused);
    };
    // Compared with the time that a majority's clocks have reached: one fast clock must not expire a code early.
    if row.expires_ms <= work.reached_ms {
        return Ok(LoginOutcome::Refused);
    }
    if let Some(used_by) = row.used_by {
        return Ok(verdict(used_by == attempt));
    }
    if row.wrong >= tries {
        return Ok(LoginOutcome::Refused);
    }
    // `SecretBytes` compares in constant time, so the duration reveals no prefix of the hash.
    let right = row.code == *code;
    if right {
        row.used_by = Some(attempt);
    } else if row.wrong > 0 && row.last == attempt {
        // A retry of the last wrong attempt must not use up another attempt.
        return Ok(LoginOutcome::Refused);
    } else {
        row.wrong += 1;
        row.last = attempt;
    }
    work.rows.put(ChatTable::Login, &key, &row.encode());
    Ok(verdict(right))
}

/// Makes a code usable again after its attempt `attempt` succeeded and yielded no tokens. The expiry stays.
pub(super) fn release(
    work: &mut ApplyContext<'_, impl RowWriter>,
    identifier: &LoginKey,
    id: LoginCodeId,
    attempt: u64,
) -> Result<LoginOutcome> {
    let key = keys::login_code(identifier, id);
    let row = work.rows.get(ChatTable::Login, &key)?;
    let Some(mut row) = row.map(|row| CodeRow::decode(&row)).transpose()? else {
        return Ok(LoginOutcome::Refused);
    };
    // Another attempt has used the code since, and has its tokens.
    if row.used_by != Some(attempt) {
        return Ok(LoginOutcome::Refused);
    }
    row.used_by = None;
    work.rows.put(ChatTable::Login, &key, &row.encode());
    Ok(LoginOutcome::Accepted)
}

fn verdict(accepted: bool) -> LoginOutcome {
    match accepted {
        true => LoginOutcome::Accepted,
        false => LoginOutcome::Refused,
    }
}
