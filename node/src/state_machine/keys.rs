//! Keys of the rows of the state machine.
//!
//! ```text
//! Conversation   conv
//! Message        conv 0 s:u64             the log
//!                conv 1 s:u64             state of the message there
//!                conv 2 s:u64 user 0 k    reaction of a user to it
//!                conv 3 level:u8 n:u64    counts of deleted messages by ordinal
//! Member         conv 0 user
//!                conv 1 user              bans
//!                conv 2 role:u8 since:u64 user   order of succession
//!                conv 3                   custom data of the conversation
//!                conv 4 user              custom data of a member
//!                conv 5 tombstone         progress of an erasure
//! Dedup          conv 0 user 0 cid        of a conversation
//!                0 user 0 cid             of `create` (in the user's shard)
//!                0 user                   counter of the latter
//! UserIndex      user 0 conv
//!                user 1 other             users blocked by the user
//!                user 2                   last-seen time of the user
//!                user 4 !ms:u64 conv      the user's conversations by time of last activity, the latest first
//!                user 8                   own settings of the user that concern others
//!                user 9 by 0 conv 0 cid   counted addition of the user by another
//!                user 10                  access of the user
//!                user 11                  profile of the user
//!                user 12                  mark of an erased user
//!                0 id                     erasure of a user
//!                1 id                     erasure that is under way
//! Outbox         0 index:u64 n:u32        change for another shard
//!                1 conv                   activity watch of a conversation
//! Webhook        0                        webhook policy of the shard
//!                1 index:u64 n:u32        queued webhook message
//! Login          0 key                    attempt counter of an IP address or a login identifier
//!                1 key code               login code
//!                2 user 0 family          token family
//!                3 end:u64 row            expiry of another row
//!                4                        keyring of the cluster
//!                5 user 0 token           device token
//!                6 user 0 device          cursors of a device
//!                7 id                     API key
//!                8                        head of the audit log
//!                9 n:u64                  entry of the audit log
//!                10 nonce:u64             number of a request that is in the audit log
//! ```
//! Numbers are big-endian. Ids contain no byte below 16 (a cid may, and comes last). So no key is a prefix of another
//! conversation's key, and the kinds of rows that share a table are disjoint ranges. A login key is that of
//! [`LoginKey::bytes`], a code, a family and a device token are 16 bytes, the id of an API key is 10; the name of a device
//! may hold any text.

use protocol::{ClientMessageId, ConversationId, Role, UserId};

use super::api_keys::ApiKeyId;
use super::erasure::ErasureId;
use super::login::{LoginCodeId, LoginKey, TokenFamilyId};
use super::outcome::OutboxId;

/// Kinds of rows of a table: the byte behind the first part of a key.
const FIRST: u8 = 0;
const SECOND: u8 = 1;
const THIRD: u8 = 2;
const FOURTH: u8 = 3;
const FIFTH: u8 = 4;
const SIXTH: u8 = 5;
const SEVENTH: u8 = 6;
const EIGHTH: u8 = 7;
const WISHES: u8 = 8;
const ADDED: u8 = 9;
const ACCESS: u8 = 10;
const PROFILE: u8 = 11;
const ERASED: u8 = 12;
/// Kinds of rows of the audit log in the table of logins.
const AUDIT: u8 = 9;
const AUDIT_NONCE: u8 = 10;

/// Returns a key of two parts of the first kind.
pub(super) fn pair(first: &str, second: &str) -> Vec<u8> {
    joined(first, FIRST, second)
}

/// Returns the key of an event.
pub(super) fn message(conv: &ConversationId, s: u64) -> Vec<u8> {
    placed(conv, FIRST, s)
}

/// Returns the range of the events `from..to`.
pub(super) fn range_of_messages(conv: &ConversationId, from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    (message(conv, from), message(conv, to))
}

/// Returns the position of an event from its key.
pub(super) fn seq_of(conv: &ConversationId, key: &[u8]) -> Option<u64> {
    let slot = key.get(conv.as_str().len() + 1..)?;
    Some(u64::from_be_bytes(slot.try_into().ok()?))
}

/// Returns the key of the state of a message.
pub(super) fn fold(conv: &ConversationId, s: u64) -> Vec<u8> {
    placed(conv, SECOND, s)
}

/// Returns the key of a user's reaction to a message.
pub(super) fn reaction(conv: &ConversationId, s: u64, user: &UserId, k: &str) -> Vec<u8> {
    let mut key = placed(conv, THIRD, s);
    // Ids contain no zero byte, so it ends the user even though the reaction may hold any text.
    key.extend_from_slice(user.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(k.as_bytes());
    key
}

/// Returns the key of a count of deleted messages.
pub(super) fn deleted(conv: &ConversationId, level: u8, slot: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(conv.as_str().len() + 10);
    key.extend_from_slice(conv.as_str().as_bytes());
    key.extend_from_slice(&[FOURTH, level]);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

fn placed(conv: &ConversationId, sort: u8, s: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(conv.as_str().len() + 9);
    key.extend_from_slice(conv.as_str().as_bytes());
    key.push(sort);
    key.extend_from_slice(&s.to_be_bytes());
    key
}

/// Returns the key of a member row.
pub(super) fn member(conv: &ConversationId, user: &UserId) -> Vec<u8> {
    pair(conv.as_str(), user.as_str())
}

/// Returns the common prefix of the dedup keys of a user in a conversation; `None` for those of `create`.
pub(super) fn dedup_scope(conv: Option<&ConversationId>, user: &UserId) -> Vec<u8> {
    let mut key = pair(conv.map_or("", ConversationId::as_str), user.as_str());
    key.push(0);
    key
}

/// Returns the end of the range of the keys with a prefix that ends with a zero byte.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    end.pop();
    end.push(SECOND);
    end
}

/// Returns the key of a dedup row.
pub(super) fn dedup(scope: &[u8], cid: &ClientMessageId) -> Vec<u8> {
    let mut key = Vec::with_capacity(scope.len() + cid.as_str().len());
    key.extend_from_slice(scope);
    key.extend_from_slice(cid.as_str().as_bytes());
    key
}

/// Returns the key of a user's row for a conversation.
pub(super) fn index(user: &UserId, conv: &ConversationId) -> Vec<u8> {
    pair(user.as_str(), conv.as_str())
}

/// Returns the key of a user's conversation by time. The time is inverted, so the latest sorts first.
pub(super) fn order(user: &UserId, ms: u64, conv: &ConversationId) -> Vec<u8> {
    let mut key = joined(user.as_str(), FIFTH, "");
    key.extend_from_slice(&(!ms).to_be_bytes());
    key.extend_from_slice(conv.as_str().as_bytes());
    key
}

/// Returns the range of a user's keys of [`order`].
pub(super) fn orders(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), FIFTH, ""),
        [user.as_str().as_bytes(), &[FIFTH + 1]].concat(),
    )
}

/// Returns the time and the conversation in a key of [`order`].
pub(super) fn ordered(user: &UserId, key: &[u8]) -> Option<(u64, ConversationId)> {
    let rest = key.get(user.as_str().len() + 1..)?;
    let (ms, conv) = rest.split_first_chunk::<8>()?;
    let conv = ConversationId::parse(std::str::from_utf8(conv).ok()?).ok()?;
    Some((!u64::from_be_bytes(*ms), conv))
}

/// Returns the key of an outbox entry.
pub(super) fn outbox(id: OutboxId) -> Vec<u8> {
    [&[FIRST], &id.key()[..]].concat()
}

/// Returns the range of the outbox entries above `after`.
pub(super) fn outbox_after(after: Option<OutboxId>) -> (Vec<u8>, Vec<u8>) {
    let start = after.map_or_else(|| vec![FIRST], |after| [&outbox(after)[..], &[0]].concat());
    (start, vec![SECOND])
}

/// Returns the id of an outbox entry from its key.
pub(super) fn outbox_id(key: &[u8]) -> Option<OutboxId> {
    OutboxId::from_key(key.strip_prefix(&[FIRST])?)
}

/// Returns the key of the activity watch of a conversation.
pub(super) fn watch(conv: &ConversationId) -> Vec<u8> {
    [&[SECOND], conv.as_str().as_bytes()].concat()
}

/// Returns the range of the keys of [`watch`] above `after`.
pub(super) fn watches_after(after: Option<&ConversationId>) -> (Vec<u8>, Vec<u8>) {
    let start = after.map_or_else(|| vec![SECOND], |conv| [&watch(conv)[..], &[0]].concat());
    (start, vec![THIRD])
}

/// Returns the conversation in a key of [`watch`].
pub(super) fn watched(key: &[u8]) -> Option<ConversationId> {
    let conv = key.strip_prefix(&[SECOND])?;
    ConversationId::parse(std::str::from_utf8(conv).ok()?).ok()
}

/// Returns the key of the custom data of a conversation.
pub(super) fn conversation_data(conv: &ConversationId) -> Vec<u8> {
    joined(conv.as_str(), FOURTH, "")
}

/// Returns the key of the custom data of a member.
pub(super) fn member_data(conv: &ConversationId, user: &UserId) -> Vec<u8> {
    joined(conv.as_str(), FIFTH, user.as_str())
}

/// Returns the key of a ban.
pub(super) fn ban(conv: &ConversationId, user: &UserId) -> Vec<u8> {
    joined(conv.as_str(), SECOND, user.as_str())
}

/// Returns the key of a block.
pub(super) fn block(user: &UserId, other: &UserId) -> Vec<u8> {
    joined(user.as_str(), SECOND, other.as_str())
}

/// Returns the key of a user's last-seen time.
pub(super) fn seen(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), THIRD, "")
}

/// Returns the key of a user's own settings that concern others.
pub(super) fn wishes(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), WISHES, "")
}

/// Returns the key of a user's profile.
pub(super) fn profile(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), PROFILE, "")
}

/// Returns the key of a counted addition of `user` by `by`.
pub(super) fn added(user: &UserId, by: &UserId, conv: &ConversationId, cid: &ClientMessageId) -> Vec<u8> {
    let key = added_by(user, by);
    [&key[..], conv.as_str().as_bytes(), &[0], cid.as_str().as_bytes()].concat()
}

/// Returns the common prefix of the counted additions of `user` by `by`.
pub(super) fn added_by(user: &UserId, by: &UserId) -> Vec<u8> {
    joined(user.as_str(), ADDED, &format!("{by}\0"))
}

/// Returns the range of the counted additions of `user` by `by`.
pub(super) fn added_by_one(user: &UserId, by: &UserId) -> (Vec<u8>, Vec<u8>) {
    let start = added_by(user, by);
    (start, joined(user.as_str(), ADDED, &format!("{by}\u{1}")))
}

/// Returns the range of the counted additions of `user` by anybody.
pub(super) fn added_by_anybody(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), ADDED, ""),
        joined(user.as_str(), ADDED + 1, ""),
    )
}

/// Returns the key of the access of a user.
pub(super) fn access(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), ACCESS, "")
}

/// Returns the key of the mark of an erased user.
pub(super) fn erased(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), ERASED, "")
}

/// Returns the range of the rows of a user that an erasure removes, without the conversations.
pub(super) fn erasable(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), SECOND, ""),
        joined(user.as_str(), ACCESS, ""),
    )
}

/// Returns the key of an erasure.
pub(super) fn erasure(id: ErasureId) -> Vec<u8> {
    [&[FIRST], &id.0[..]].concat()
}

/// Returns the key of an erasure that is under way.
pub(super) fn running_erasure(id: ErasureId) -> Vec<u8> {
    [&[SECOND], &id.0[..]].concat()
}

/// Returns the range of the keys of [`running_erasure`].
pub(super) fn running_erasures() -> ([u8; 1], [u8; 1]) {
    ([SECOND], [THIRD])
}

/// Returns the id in a key of [`running_erasure`].
pub(super) fn running_erasure_id(key: &[u8]) -> Option<ErasureId> {
    Some(ErasureId(key.strip_prefix(&[SECOND])?.try_into().ok()?))
}

/// Returns the key of the progress of an erasure in a conversation.
pub(super) fn erasure_progress(conv: &ConversationId, tombstone: &UserId) -> Vec<u8> {
    joined(conv.as_str(), SIXTH, tombstone.as_str())
}

/// Key of the webhook policy.
pub(super) const HOOKS: [u8; 1] = [FIRST];

/// Returns the key of a queued webhook message.
pub(super) fn queued_webhook(id: OutboxId) -> Vec<u8> {
    [&[SECOND], &id.key()[..]].concat()
}

/// Returns the range of queued webhook messages.
pub(super) fn queued_webhooks() -> ([u8; 1], [u8; 1]) {
    ([SECOND], [THIRD])
}

/// Returns the id of a queued webhook message from its key.
pub(super) fn queued_webhook_id(key: &[u8]) -> Option<OutboxId> {
    OutboxId::from_key(key.strip_prefix(&[SECOND])?)
}

/// Returns the key of a member in the order of succession.
pub(super) fn succession(conv: &ConversationId, role: Role, since: u64, user: &UserId) -> Vec<u8> {
    let mut key = succession_range(conv).0;
    key.push(role as u8);
    key.extend_from_slice(&since.to_be_bytes());
    key.extend_from_slice(user.as_str().as_bytes());
    key
}

/// Returns the range of the reactions to the messages `from..to`.
pub(super) fn reactions(conv: &ConversationId, from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    (placed(conv, THIRD, from), placed(conv, THIRD, to))
}

/// Returns the range of the keys of succession; its start is their common prefix.
pub(super) fn succession_range(conv: &ConversationId) -> (Vec<u8>, Vec<u8>) {
    let bytes = conv.as_str().as_bytes();
    ([bytes, &[THIRD]].concat(), [bytes, &[THIRD + 1]].concat())
}

/// Returns the key of an attempt counter.
pub(super) fn login_count(key: &LoginKey) -> Vec<u8> {
    [&[FIRST], &key.bytes()[..]].concat()
}

/// Returns the key of a login code.
pub(super) fn login_code(identifier: &LoginKey, code: LoginCodeId) -> Vec<u8> {
    [&[SECOND], &identifier.bytes()[..], &code.0].concat()
}

/// Returns the key of a token family.
pub(super) fn token_family(user: &UserId, family: TokenFamilyId) -> Vec<u8> {
    [&[THIRD], user.as_str().as_bytes(), &[0], &family.0].concat()
}

/// Returns the range of a user's token families.
pub(super) fn token_families(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[THIRD], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the id of a user's token family from its key.
pub(super) fn token_family_id(user: &UserId, key: &[u8]) -> Option<TokenFamilyId> {
    let family = key.strip_prefix(&token_families(user).0[..])?;
    Some(TokenFamilyId(family.try_into().ok()?))
}

/// Returns the key of a device token.
pub(super) fn device_token(user: &UserId, token: TokenFamilyId) -> Vec<u8> {
    [&[SIXTH], user.as_str().as_bytes(), &[0], &token.0].concat()
}

/// Returns the range of a user's device tokens.
pub(super) fn device_tokens(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[SIXTH], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the id of a user's device token from its key.
pub(super) fn device_token_id(user: &UserId, key: &[u8]) -> Option<TokenFamilyId> {
    let token = key.strip_prefix(&device_tokens(user).0[..])?;
    Some(TokenFamilyId(token.try_into().ok()?))
}

/// Returns the key of the cursors of a device.
pub(super) fn device_cursors(user: &UserId, device: &str) -> Vec<u8> {
    [&[SEVENTH], user.as_str().as_bytes(), &[0], device.as_bytes()].concat()
}

/// Returns the range of the cursors of a user's devices.
pub(super) fn all_device_cursors(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end: u8| [&[SEVENTH], user.as_str().as_bytes(), &[end]].concat();
    (prefix(0), prefix(1))
}

/// Returns the key of an API key.
pub(super) fn api_key(id: ApiKeyId) -> Vec<u8> {
    [&[EIGHTH], &id.0[..]].concat()
}

/// Returns the range of the API keys.
pub(super) fn api_keys() -> (Vec<u8>, Vec<u8>) {
    (vec![EIGHTH], vec![EIGHTH + 1])
}

/// Returns the id of an API key from its key.
pub(super) fn api_key_id(key: &[u8]) -> Option<ApiKeyId> {
    Some(ApiKeyId(key.strip_prefix(&[EIGHTH])?.try_into().ok()?))
}

/// Key of the head of the audit log.
pub(super) const AUDIT_HEAD: [u8; 1] = [EIGHTH + 1];

/// Returns the key of an entry of the audit log.
pub(super) fn audit_entry(seq: u64) -> Vec<u8> {
    [&[AUDIT], &seq.to_be_bytes()[..]].concat()
}

/// Returns the range of the entries of the audit log below `before`.
pub(super) fn audit_entries_before(before: Option<u64>) -> (Vec<u8>, Vec<u8>) {
    (vec![AUDIT], before.map_or_else(|| vec![AUDIT + 1], audit_entry))
}

/// Returns the number of an entry of the audit log from its key.
pub(super) fn audit_seq(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(&[AUDIT])?.try_into().ok()?))
}

/// Returns the key of the number of a request that is in the audit log.
pub(super) fn audit_nonce(nonce: u64) -> Vec<u8> {
    [&[AUDIT_NONCE], &nonce.to_be_bytes()[..]].concat()
}

/// Returns the key of the expiry entry of another row.
pub(super) fn login_expiry(at_ms: u64, key: &[u8]) -> Vec<u8> {
    [&[FOURTH], &at_ms.to_be_bytes()[..], key].concat()
}

/// Returns the range of the expiry entries up to `now_ms`, inclusive.
pub(super) fn login_expiries_until(now_ms: u64) -> (Vec<u8>, Vec<u8>) {
    // The end is exclusive, but entries at `now_ms` itself have expired.
    (vec![FOURTH], login_expiry(now_ms.saturating_add(1), b""))
}

/// Returns the key of the row that an expiry entry names.
pub(super) fn expiring_login_row(expiry: &[u8]) -> Option<&[u8]> {
    // One byte of kind and eight of time precede the key.
    expiry.get(9..)
}

/// Key of the cluster's keyring.
pub(super) const KEYRING: [u8; 1] = [FIFTH];

/// Kind of a row whose key names a user and a second id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyKind {
    Index,
    Block,
}

/// Returns the conversation and the user in the key of a member row; `None` for the other rows of that table.
pub(super) fn member_parts(key: &[u8]) -> Option<(ConversationId, UserId)> {
    match parts(key)? {
        (conv, FIRST, user) => Some((ConversationId::parse(conv).ok()?, UserId::parse(user).ok()?)),
        _ => None,
    }
}

/// Returns the user and the second id in the key of a row for a conversation or of a block; `None` for the other rows of
/// that table.
pub(super) fn user_parts(key: &[u8]) -> Option<(KeyKind, UserId, &str)> {
    let (user, kind, second) = parts(key)?;
    let kind = match kind {
        FIRST => KeyKind::Index,
        SECOND => KeyKind::Block,
        _ => return None,
    };
    Some((kind, UserId::parse(user).ok()?, second))
}

/// Returns true for the key of the cursors of a device.
pub(super) fn is_device_cursors(key: &[u8]) -> bool {
    key.first() == Some(&SEVENTH)
}

/// Returns the user in the key of the cursors of a device.
pub(super) fn device_cursors_user(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(&[SEVENTH])?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Returns the first id of a key, its kind and the text behind that. Ids contain no byte below 16.
fn parts(key: &[u8]) -> Option<(&str, u8, &str)> {
    let at = key.iter().position(|byte| *byte < 16)?;
    let (first, second) = (&key[..at], key.get(at + 1..)?);
    Some((
        std::str::from_utf8(first).ok()?,
        key[at],
        std::str::from_utf8(second).ok()?,
    ))
}

/// Returns true if a row of the table of logins with this key is key material, or the expiry of such a row.
pub(super) fn is_key_material(key: &[u8]) -> bool {
    match key.first() {
        Some(&FOURTH) => expiring_login_row(key).is_some_and(is_key_material),
        // Everything but the cursors of devices and the audit log. A kind that is new counts as key material.
        Some(&kind) => ![SEVENTH, AUDIT_HEAD[0], AUDIT, AUDIT_NONCE].contains(&kind),
        None => false,
    }
}

/// Returns the range of keys of the first kind above `first 0 after`.
pub(super) fn range_after(first: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    range(first, FIRST, after)
}

/// Returns the same range of the second kind: bans and blocks.
pub(super) fn second_range_after(first: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    range(first, SECOND, after)
}

/// Returns the part of a key behind `first` and the byte of the kind.
pub(super) fn rest<'a>(first: &str, key: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(key.get(first.len() + 1..)?).ok()
}

fn range(first: &str, sort: u8, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let mut start = joined(first, sort, after.unwrap_or(""));
    if after.is_some() {
        // The smallest key above `after`: the entry itself is excluded.
        start.push(0);
    }
    (start, [first.as_bytes(), &[sort + 1]].concat())
}

fn joined(first: &str, sort: u8, second: &str) -> Vec<u8> {
    [first.as_bytes(), &[sort], second.as_bytes()].concat()
}
