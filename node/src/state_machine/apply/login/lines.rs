//! Token families (OAuth refresh token rotation): each refresh token is used once and replaced by the next, so that
//! theft shows.
//!
//! A replaced token that is presented again ends the family, because either the thief or the user has used it before.
//! One exception: within a short grace period after its replacement a token may be used again. This covers a client
//! that never received the response, and two tabs that refresh a shared token at once. Each such use issues a token of
//! its own, which is replaced, guarded and expired independently. Later use counts as theft.

use std::iter;

use crate::state_machine::ChatTable;
use protocol::UserId;
use storage::ScanOrder;

use super::{devices, expiry};
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::{LoginOutcome, SecretBytes, TokenFamilyId, TokenFamilyRow};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Maximum number of token families per user. The one that expires first is evicted for another.
const LINES: usize = 64;
/// Maximum number of usable tokens per family, and of recently replaced ones that are remembered. Of the latter, the
/// oldest is evicted for another.
const TOKENS: usize = 16;
/// Time for which a replaced token is remembered in milliseconds; longer than any command queue retries.
const REPEAT_MS: u64 = 120_000;

/// Creates a token family. Repeating it is acknowledged without a change.
pub(super) fn open(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
    token: &SecretBytes,
    valid_ms: u64,
) -> Result<LoginOutcome> {
    let key = keys::token_family(user, id);
    // A retry must not reset the family to its first token.
    if work.rows.get(ChatTable::Login, &key)?.is_some() {
        return Ok(LoginOutcome::Accepted);
    }
    let mut lines = all(work, user)?;
    // Ties are broken by the key, so that all replicas evict the same family.
    lines.sort_by(|a, b| (a.1.expires_ms, &a.0).cmp(&(b.1.expires_ms, &b.0)));
    let excess = (lines.len() + 1).saturating_sub(LINES);
    for (key, line) in &lines[..excess] {
        expiry::remove(work.rows, key, line.expires_ms);
    }
    let expires_ms = work.now_ms.saturating_add(valid_ms);
    let row = TokenFamilyRow {
        expires_ms,
        opened_ms: work.now_ms,
        tokens: vec![(token.clone(), expires_ms)],
        replaced: Vec::new(),
    };
    expiry::put(work.rows, &key, &row.encode(), None, expires_ms);
    Ok(LoginOutcome::Accepted)
}

/// Replaces a refresh token by `next`, or ends the family if the token was replaced before the grace period.
pub(super) fn turn(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
    token: &SecretBytes,
    next: &SecretBytes,
    valid_ms: u64,
    grace_ms: u64,
) -> Result<LoginOutcome> {
    let key = keys::token_family(user, id);
    let now_ms = work.now_ms;
    let row = work.rows.get(ChatTable::Login, &key)?;
    let Some(mut row) = row.map(|row| TokenFamilyRow::decode(&row)).transpose()? else {
        return Ok(LoginOutcome::Refused);
    };
    if row.expires_ms <= work.reached_ms {
        return Ok(LoginOutcome::Refused);
    }
    let before_ms = row.expires_ms;
    // Remembered for at least `REPEAT_MS` even with a shorter grace period, so that retries of the queue are
    // recognized.
    row.replaced
        .retain(|(_, at_ms)| at_ms.saturating_add(grace_ms.max(REPEAT_MS)) > work.reached_ms);
    let replaced_ms = row.replaced.iter().find(|(replaced, _)| replaced == token);
    let replaced_ms = replaced_ms.map(|(_, at_ms)| *at_ms);
    if replaced_ms.is_some() && row.tokens.iter().any(|(present, _)| present == next) {
        // The command queue sent the same rotation again: `next` was issued by the first application.
        return Ok(LoginOutcome::Accepted);
    }
    let lately = replaced_ms.is_some_and(|at_ms| at_ms.saturating_add(grace_ms) > work.reached_ms);
    match row.tokens.iter().position(|(present, _)| present == token) {
        Some(at) => {
            let (token, expires_ms) = row.tokens.remove(at);
            if expires_ms <= work.reached_ms {
                // The token expired unused while the family lives on in others. That is no sign of theft, so the family
                // stays.
                expiry::put(work.rows, &key, &row.encode(), Some(before_ms), before_ms);
                return Ok(LoginOutcome::Refused);
            }
            row.replaced.push((token, now_ms));
        }
        // Within the grace period: a second successor is issued beside the first.
        None if lately => {
            if row.tokens.len() >= TOKENS {
                row.tokens.retain(|(_, expires_ms)| *expires_ms > work.reached_ms);
            }
            // A usable token is never evicted for another: its holder would present an unknown one and end the family.
            if row.tokens.len() >= TOKENS {
                return Ok(LoginOutcome::Refused);
            }
        }
        // Replaced before the grace period: presenting it again counts as theft.
        None => {
            expiry::remove(work.rows, &key, before_ms);
            // Whoever stole the login may have created device tokens with it.
            let devices = devices::end_with(work, user, Some(id))?;
            if devices.is_empty() {
                return Ok(LoginOutcome::Reused(id));
            }
            let families = iter::once(id).chain(devices).collect();
            return Ok(LoginOutcome::ReusedWithDevices { families });
        }
    }
    row.expires_ms = now_ms.saturating_add(valid_ms);
    row.tokens.push((next.clone(), row.expires_ms));
    let excess = row.replaced.len().saturating_sub(TOKENS);
    row.replaced.drain(..excess);
    expiry::put(work.rows, &key, &row.encode(), Some(before_ms), row.expires_ms);
    Ok(LoginOutcome::Accepted)
}

/// Ends a token family. A missing family still has the effect: its sessions may exist if an owner died before it
/// broadcast the revocation.
pub(super) fn end(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
) -> Result<LoginOutcome> {
    let key = keys::token_family(user, id);
    if let Some(row) = work.rows.get(ChatTable::Login, &key)? {
        expiry::remove(work.rows, &key, TokenFamilyRow::decode(&row)?.expires_ms);
    }
    let devices = devices::end_with(work, user, Some(id))?;
    Ok(LoginOutcome::Ended {
        families: iter::once(id).chain(devices).collect(),
        all: false,
    })
}

/// Ends every token family and device token of the user, including the family `id` even if it does not exist.
pub(super) fn end_all(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
) -> Result<LoginOutcome> {
    let mut families = vec![id];
    for (key, line) in all(work, user)? {
        expiry::remove(work.rows, &key, line.expires_ms);
        families.extend(keys::token_family_id(user, &key).filter(|known| *known != id));
    }
    families.extend(devices::end_with(work, user, None)?);
    Ok(LoginOutcome::Ended { families, all: true })
}

/// Ends the token families of the user that were opened before this time in seconds since the epoch, and the device
/// tokens that they created or that were created before it.
pub(in crate::state_machine::apply) fn end_before(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    before_s: u64,
) -> Result<Vec<TokenFamilyId>> {
    let mut ended = Vec::new();
    for (key, line) in all(work, user)? {
        if line.opened_ms / 1_000 < before_s {
            expiry::remove(work.rows, &key, line.expires_ms);
            ended.extend(keys::token_family_id(user, &key));
        }
    }
    ended.extend(devices::end_before(work, user, before_s, &ended)?);
    Ok(ended)
}

fn all(
    work: &ApplyContext<'_, impl RowWriter>,
    user: &UserId,
) -> Result<Vec<(bytes::Bytes, TokenFamilyRow)>> {
    let (start, end) = keys::token_families(user);
    let found = work
        .rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, LINES)?;
    let decoded = found
        .into_iter()
        .map(|(key, row)| Ok((key, TokenFamilyRow::decode(&row)?)));
    decoded.collect()
}
