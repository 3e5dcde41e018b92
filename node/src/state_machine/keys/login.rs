//! Keys of the table of logins: login codes, tokens, devices, API keys and the audit log.

use protocol::UserId;

use super::{EIGHTH, FIFTH, FIRST, FOURTH, SECOND, SEVENTH, SIXTH, THIRD};
use crate::state_machine::api_keys::ApiKeyId;
use crate::state_machine::login::{LoginCodeId, LoginKey, TokenFamilyId};

/// Kinds of rows of the audit log.
const AUDIT: u8 = 9;
const AUDIT_NONCE: u8 = 10;

/// Returns the key of an attempt counter.
pub(in crate::state_machine) fn login_count(key: &LoginKey) -> Vec<u8> {
    [&[FIRST], &key.bytes()[..]].concat()
}

/// Returns the key of a login code.
pub(in crate::state_machine) fn login_code(identifier: &LoginKey, code: LoginCodeId) -> Vec<u8> {
    [&[SECOND], &identifier.bytes()[..], &code.0].concat()
}

/// Returns the key of a token family.
pub(in crate::state_machine) fn token_family(user: &UserId, family: TokenFamilyId) -> Vec<u8> {
    [&[THIRD], user.as_str().as_bytes(), &[0], &family.0].concat()
}

/// Returns the range of a user's token families.
pub(in crate::state_machine) fn token_families(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[THIRD], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the id of a user's token family from its key.
pub(in crate::state_machine) fn token_family_id(user: &UserId, key: &[u8]) -> Option<TokenFamilyId> {
    let family = key.strip_prefix(&token_families(user).0[..])?;
    Some(TokenFamilyId(family.try_into().ok()?))
}

/// Returns the key of a device token.
pub(in crate::state_machine) fn device_token(user: &UserId, token: TokenFamilyId) -> Vec<u8> {
    [&[SIXTH], user.as_str().as_bytes(), &[0], &token.0].concat()
}

/// Returns the range of a user's device tokens.
pub(in crate::state_machine) fn device_tokens(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[SIXTH], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the id of a user's device token from its key.
pub(in crate::state_machine) fn device_token_id(user: &UserId, key: &[u8]) -> Option<TokenFamilyId> {
    let token = key.strip_prefix(&device_tokens(user).0[..])?;
    Some(TokenFamilyId(token.try_into().ok()?))
}

/// Returns the key of the cursors of a device.
pub(in crate::state_machine) fn device_cursors(user: &UserId, device: &str) -> Vec<u8> {
    [&[SEVENTH], user.as_str().as_bytes(), &[0], device.as_bytes()].concat()
}

/// Returns the range of the cursors of a user's devices.
pub(in crate::state_machine) fn all_device_cursors(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[SEVENTH], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the key of an API key.
pub(in crate::state_machine) fn api_key(id: ApiKeyId) -> Vec<u8> {
    [&[EIGHTH], &id.0[..]].concat()
}

/// Returns the range of the API keys.
pub(in crate::state_machine) fn api_keys() -> (Vec<u8>, Vec<u8>) {
    (vec![EIGHTH], vec![EIGHTH + 1])
}

/// Returns the id of an API key from its key.
pub(in crate::state_machine) fn api_key_id(key: &[u8]) -> Option<ApiKeyId> {
    Some(ApiKeyId(key.strip_prefix(&[EIGHTH])?.try_into().ok()?))
}

/// Key of the head of the audit log.
pub(in crate::state_machine) const AUDIT_HEAD: [u8; 1] = [EIGHTH + 1];

/// Returns the key of an entry of the audit log.
pub(in crate::state_machine) fn audit_entry(seq: u64) -> Vec<u8> {
    [&[AUDIT], &seq.to_be_bytes()[..]].concat()
}

/// Returns the range of the entries of the audit log below `before`.
pub(in crate::state_machine) fn audit_entries_before(before: Option<u64>) -> (Vec<u8>, Vec<u8>) {
    (vec![AUDIT], before.map_or_else(|| vec![AUDIT + 1], audit_entry))
}

/// Returns the number of an entry of the audit log from its key.
pub(in crate::state_machine) fn audit_seq(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(&[AUDIT])?.try_into().ok()?))
}

/// Returns the key of the number of a request that is in the audit log.
pub(in crate::state_machine) fn audit_nonce(nonce: u64) -> Vec<u8> {
    [&[AUDIT_NONCE], &nonce.to_be_bytes()[..]].concat()
}

/// Returns the key of the expiry entry of another row.
pub(in crate::state_machine) fn login_expiry(at_ms: u64, key: &[u8]) -> Vec<u8> {
    [&[FOURTH], &at_ms.to_be_bytes()[..], key].concat()
}

/// Returns the range of the expiry entries up to `now_ms`, inclusive.
pub(in crate::state_machine) fn login_expiries_until(now_ms: u64) -> (Vec<u8>, Vec<u8>) {
    // The end is exclusive, but entries at `now_ms` itself have expired.
    (vec![FOURTH], login_expiry(now_ms.saturating_add(1), b""))
}

/// Returns the key of the row that an expiry entry names.
pub(in crate::state_machine) fn expiring_login_row(expiry: &[u8]) -> Option<&[u8]> {
    // One byte of kind and eight of time precede the key.
    expiry.get(9..)
}

/// Key of the cluster's keyring.
pub(in crate::state_machine) const KEYRING: [u8; 1] = [FIFTH];

/// Returns true for the key of the cursors of a device.
pub(in crate::state_machine) fn is_device_cursors(key: &[u8]) -> bool {
    key.first() == Some(&SEVENTH)
}

/// Returns the user in the key of the cursors of a device.
pub(in crate::state_machine) fn device_cursors_user(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(&[SEVENTH])?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Returns true if a row of the table of logins with this key is key material, or the expiry of such a row.
pub(in crate::state_machine) fn is_key_material(key: &[u8]) -> bool {
    match key.first() {
        Some(&FOURTH) => expiring_login_row(key).is_some_and(is_key_material),
        // Everything but the cursors of devices and the audit log. A kind that is new counts as key material.
        Some(&kind) => ![SEVENTH, AUDIT_HEAD[0], AUDIT, AUDIT_NONCE].contains(&kind),
        None => false,
    }
}
