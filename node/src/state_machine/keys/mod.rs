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
//! [`LoginKey::bytes`](super::login::LoginKey::bytes), a code, a family and a device token are 16 bytes, the id of an API key is 10; the name of a device
//! may hold any text.

mod login;
mod user_index;

pub(super) use self::login::{
    AUDIT_HEAD, KEYRING, all_device_cursors, api_key, api_key_id, api_keys, audit_entries_before,
    audit_entry, audit_nonce, audit_seq, device_cursors, device_cursors_user, device_token, device_token_id,
    device_tokens, expiring_login_row, is_device_cursors, is_key_material, login_code, login_count,
    login_expiries_until, login_expiry, token_families, token_family, token_family_id,
};
pub(super) use self::user_index::{
    KeyKind, access, added, added_by, added_by_anybody, added_by_one, block, erasable, erased, erasure,
    index, order, ordered, orders, profile, running_erasure, running_erasure_id, running_erasures, seen,
    user_parts, wishes,
};

use protocol::{ClientMessageId, ConversationId, Role, UserId};

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

/// Returns the conversation and the user in the key of a member row; `None` for the other rows of that table.
pub(super) fn member_parts(key: &[u8]) -> Option<(ConversationId, UserId)> {
    match parts(key)? {
        (conv, FIRST, user) => Some((ConversationId::parse(conv).ok()?, UserId::parse(user).ok()?)),
        _ => None,
    }
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
