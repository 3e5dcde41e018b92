//! Device tokens: for clients with a fixed password, each bound to one device of its user.
//!
//! A device token counts as a login of its own, so that its revocation ends its sessions as a logout does. It ends with
//! the login that requested it, by revocation or by expiry.

use bytes::Bytes;
use protocol::UserId;
use storage::ScanOrder;

use super::expiry;
use crate::state_machine::ChatTable;
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::{
    DEVICE_TOKENS, DeviceTokenRow, LoginOutcome, SecretBytes, TokenFamilyId, TokenFamilyRow,
};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Fields of a new device token.
pub(super) struct NewDeviceToken<'a> {
    pub(super) token: &'a SecretBytes,
    pub(super) device: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) login: Option<TokenFamilyId>,
    pub(super) valid_ms: u64,
}

/// Creates a device token. `Refused` if the requesting login has ended, `Limited` if the user has too many.
pub(super) fn open(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
    new: &NewDeviceToken<'_>,
) -> Result<LoginOutcome> {
    let key = keys::device_token(user, id);
    // A retry must neither count against the limit nor extend the token.
    if work.rows.get(ChatTable::Login, &key)?.is_some() {
        return Ok(LoginOutcome::Accepted);
    }
    // An access token outlives its login by minutes on a node that missed the end. It must not create a token that
    // lives for months.
    if let Some(login) = new.login
        && !is_alive(work, user, login)?
    {
        return Ok(LoginOutcome::Refused);
    }
    let mut earliest_ms = u64::MAX;
    let mut live = 0;
    for (key, row) in all(work, user)? {
        if row.expires_ms <= work.reached_ms {
            // The sweep may be late, and an expired token must not take the place of another.
            expiry::remove(work.rows, &key, row.expires_ms);
        } else {
            live += 1;
            earliest_ms = earliest_ms.min(row.expires_ms);
        }
    }
    // None is evicted for another, unlike a token family: the device of an evicted token could not log in by itself.
    if live >= DEVICE_TOKENS {
        let wait_ms = earliest_ms.saturating_sub(work.reached_ms);
        return Ok(LoginOutcome::Limited { wait_ms });
    }
    let expires_ms = work.now_ms.saturating_add(new.valid_ms);
    let row = DeviceTokenRow {
        expires_ms,
        created_ms: work.now_ms,
        token: new.token.clone(),
        device: new.device.into(),
        name: new.name.map(Into::into),
        login: new.login,
    };
    expiry::put(work.rows, &key, &row.encode(), None, expires_ms);
    Ok(LoginOutcome::Accepted)
}

/// Revokes a device token. A missing one still has the effect: its sessions may exist if an owner died before it
/// broadcast the revocation.
pub(super) fn end(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: TokenFamilyId,
) -> Result<LoginOutcome> {
    let key = keys::device_token(user, id);
    if let Some(row) = work.rows.get(ChatTable::Login, &key)? {
        expiry::remove(work.rows, &key, DeviceTokenRow::decode(&row)?.expires_ms);
    }
    Ok(LoginOutcome::Ended {
        families: vec![id],
        all: false,
    })
}

/// Removes the device tokens that a login has created, or with `None` all tokens of the user, and returns their ids.
pub(super) fn end_with(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    login: Option<TokenFamilyId>,
) -> Result<Vec<TokenFamilyId>> {
    let mut ended = Vec::new();
    for (key, row) in all(work, user)? {
        if login.is_none() || row.login == login {
            expiry::remove(work.rows, &key, row.expires_ms);
            ended.extend(keys::device_token_id(user, &key));
        }
    }
    Ok(ended)
}

/// Removes the device tokens that were created before this time in seconds since the epoch, or by one of these logins, and
/// returns their ids.
pub(super) fn end_before(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    before_s: u64,
    logins: &[TokenFamilyId],
) -> Result<Vec<TokenFamilyId>> {
    let mut ended = Vec::new();
    for (key, row) in all(work, user)? {
        let of_login = row.login.is_some_and(|login| logins.contains(&login));
        if of_login || row.created_ms / 1_000 < before_s {
            expiry::remove(work.rows, &key, row.expires_ms);
            ended.extend(keys::device_token_id(user, &key));
        }
    }
    Ok(ended)
}

fn is_alive(work: &ApplyContext<'_, impl RowWriter>, user: &UserId, login: TokenFamilyId) -> Result<bool> {
    let row = work
        .rows
        .get(ChatTable::Login, &keys::token_family(user, login))?;
    let row = row.map(|row| TokenFamilyRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| row.expires_ms > work.reached_ms))
}

fn all(work: &ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<Vec<(Bytes, DeviceTokenRow)>> {
    let (start, end) = keys::device_tokens(user);
    let found = work.rows.scan(
        ChatTable::Login,
        &start..&end,
        ScanOrder::Ascending,
        DEVICE_TOKENS,
    )?;
    let decoded = found
        .into_iter()
        .map(|(key, row)| Ok((key, DeviceTokenRow::decode(&row)?)));
    decoded.collect()
}
