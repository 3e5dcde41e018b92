//! Keys of the machine's rows.
//!
//! ```text
//! Conversation   conv
//! Message        conv 0 s:u64             the log
//!                conv 1 s:u64             what has become of the message there
//!                conv 2 s:u64 user 0 k    who has set which reaction to it
//!                conv 3 level:u8 n:u64    how many messages are deleted, by ordinals
//! Member         conv 0 user
//!                conv 1 user              who is banned
//!                conv 2 role:u8 since:u64 user   the order of succession
//! Dedup          conv 0 user 0 cid        of a conversation
//!                0 user 0 cid             of `create` (in the user's shard)
//!                0 user                   how many of those there are
//! UserIndex      user 0 conv
//!                user 1 other             whom the user blocks
//!                user 2                   when the user was seen last
//!                user 3 line              a line of refresh tokens
//!                user 4 !ms:u64 conv      the user's conversations by the time of what happened last, the latest first
//!                user 8                   the user's own wishes that concern others
//!                user 9 by 0 conv 0 cid   another may make the user a member
//!                0 name                   how often an address or an IP has asked for a code
//!                1 name 0 code            a code
//!                2 end:u64 key            which of these rows is over when
//!                3                        the keys of the cluster
//! Outbox         index:u64 n:u32
//!                1                        whether messages are told to the hook
//!                1 index:u64 n:u32        a message that it is to be told of
//!                2 conv                   a conversation whose messages are told to the members' shards
//! ```
//! Numbers are big-endian. Ids contain no byte below 16 (a cid may, and stands last), so no key is a prefix of another
//! conversation's, and the sorts of rows that share a table lie apart.

use protocol::{Cid, ConvId, Role, UserId};

use super::outcome::OutboxId;

/// The byte behind the first part of a key says which sort of row of the table it is.
const FIRST: u8 = 0;
const SECOND: u8 = 1;
const THIRD: u8 = 2;
const FOURTH: u8 = 3;
const FIFTH: u8 = 4;
const WISHES: u8 = 8;
const ADDED: u8 = 9;

/// A key of two parts.
pub(super) fn pair(first: &str, second: &str) -> Vec<u8> {
    joined(first, FIRST, second)
}

/// The key of an event.
pub(super) fn message(conv: &ConvId, s: u64) -> Vec<u8> {
    placed(conv, FIRST, s)
}

/// The place of an event, from its key.
pub(super) fn place(conv: &ConvId, key: &[u8]) -> Option<u64> {
    let place = key.get(conv.as_str().len() + 1..)?;
    Some(u64::from_be_bytes(place.try_into().ok()?))
}

/// The key of what has become of a message.
pub(super) fn fold(conv: &ConvId, s: u64) -> Vec<u8> {
    placed(conv, SECOND, s)
}

/// The key of a user's reaction to a message.
pub(super) fn reaction(conv: &ConvId, s: u64, user: &UserId, k: &str) -> Vec<u8> {
    let mut key = placed(conv, THIRD, s);
    key.extend_from_slice(user.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(k.as_bytes());
    key
}

/// The key of how many messages are deleted in a place of a level of ordinals.
pub(super) fn deleted(conv: &ConvId, level: u8, place: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(conv.as_str().len() + 10);
    key.extend_from_slice(conv.as_str().as_bytes());
    key.extend_from_slice(&[FOURTH, level]);
    key.extend_from_slice(&place.to_be_bytes());
    key
}

fn placed(conv: &ConvId, sort: u8, s: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(conv.as_str().len() + 9);
    key.extend_from_slice(conv.as_str().as_bytes());
    key.push(sort);
    key.extend_from_slice(&s.to_be_bytes());
    key
}

/// The key of a member.
pub(super) fn member(conv: &ConvId, user: &UserId) -> Vec<u8> {
    pair(conv.as_str(), user.as_str())
}

/// What the keys of one user's dedup rows begin with; `None` for those of `create`.
pub(super) fn dedup_scope(conv: Option<&ConvId>, user: &UserId) -> Vec<u8> {
    let mut key = pair(conv.map_or("", ConvId::as_str), user.as_str());
    key.push(0);
    key
}

/// The key of a dedup row.
pub(super) fn dedup(scope: &[u8], cid: &Cid) -> Vec<u8> {
    let mut key = Vec::with_capacity(scope.len() + cid.as_str().len());
    key.extend_from_slice(scope);
    key.extend_from_slice(cid.as_str().as_bytes());
    key
}

/// The key of a user's row for a conversation.
pub(super) fn index(user: &UserId, conv: &ConvId) -> Vec<u8> {
    pair(user.as_str(), conv.as_str())
}

/// The key of a user's conversation by time: the later sorts first.
pub(super) fn order(user: &UserId, ms: u64, conv: &ConvId) -> Vec<u8> {
    let mut key = joined(user.as_str(), FIFTH, "");
    key.extend_from_slice(&(!ms).to_be_bytes());
    key.extend_from_slice(conv.as_str().as_bytes());
    key
}

/// The range of those keys.
pub(super) fn orders(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), FIFTH, ""),
        [user.as_str().as_bytes(), &[FIFTH + 1]].concat(),
    )
}

/// The time and the conversation that a key of [`order`] names.
pub(super) fn ordered(user: &UserId, key: &[u8]) -> Option<(u64, ConvId)> {
    let rest = key.get(user.as_str().len() + 1..)?;
    let (ms, conv) = rest.split_first_chunk::<8>()?;
    let conv = ConvId::parse(std::str::from_utf8(conv).ok()?).ok()?;
    Some((!u64::from_be_bytes(*ms), conv))
}

/// The key of a conversation whose messages are told to the members' shards.
pub(super) fn watch(conv: &ConvId) -> Vec<u8> {
    [&[THIRD], conv.as_str().as_bytes()].concat()
}

/// The range of those keys, those up to and including `after` left out.
pub(super) fn watches_after(after: Option<&ConvId>) -> (Vec<u8>, Vec<u8>) {
    let start = after.map_or_else(|| vec![THIRD], |conv| [&watch(conv)[..], &[0]].concat());
    (start, vec![FOURTH])
}

/// The conversation that a key of [`watch`] names.
pub(super) fn watched(key: &[u8]) -> Option<ConvId> {
    let conv = key.strip_prefix(&[THIRD])?;
    ConvId::parse(std::str::from_utf8(conv).ok()?).ok()
}

/// The key of somebody who is banned.
pub(super) fn ban(conv: &ConvId, user: &UserId) -> Vec<u8> {
    joined(conv.as_str(), SECOND, user.as_str())
}

/// The key of somebody whom a user blocks.
pub(super) fn block(user: &UserId, other: &UserId) -> Vec<u8> {
    joined(user.as_str(), SECOND, other.as_str())
}

/// The key of when a user was seen last.
pub(super) fn seen(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), THIRD, "")
}

/// The key of a user's own wishes that concern others.
pub(super) fn wishes(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), WISHES, "")
}

/// The key of a membership that another may make.
pub(super) fn added(user: &UserId, by: &UserId, conv: &ConvId, cid: &Cid) -> Vec<u8> {
    let key = added_by(user, by);
    [&key[..], conv.as_str().as_bytes(), &[0], cid.as_str().as_bytes()].concat()
}

/// What the keys of those that one other may make begin with.
pub(super) fn added_by(user: &UserId, by: &UserId) -> Vec<u8> {
    joined(user.as_str(), ADDED, &format!("{by}\0"))
}

/// The range of those.
pub(super) fn added_by_one(user: &UserId, by: &UserId) -> (Vec<u8>, Vec<u8>) {
    let start = added_by(user, by);
    (start, joined(user.as_str(), ADDED, &format!("{by}\u{1}")))
}

/// The range of those that anybody may make.
pub(super) fn added_by_anybody(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), ADDED, ""),
        joined(user.as_str(), ADDED + 1, ""),
    )
}

/// The key of the row that says whether messages are told to the hook. Indexes begin with a zero byte.
pub(super) const HOOKS: [u8; 1] = [SECOND];

/// The key of a message that the hook is to be told of.
pub(super) fn intent(id: OutboxId) -> Vec<u8> {
    [&HOOKS[..], &id.key()].concat()
}

/// The range of those keys.
pub(super) fn intents() -> ([u8; 2], [u8; 1]) {
    ([SECOND, 0], [THIRD])
}

/// The key of a member in the order of succession.
pub(super) fn succession(conv: &ConvId, role: Role, since: u64, user: &UserId) -> Vec<u8> {
    let mut key = succession_range(conv).0;
    key.push(role as u8);
    key.extend_from_slice(&since.to_be_bytes());
    key.extend_from_slice(user.as_str().as_bytes());
    key
}

/// The range of the keys of reactions to the messages `from..to`.
pub(super) fn reactions(conv: &ConvId, from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    (placed(conv, THIRD, from), placed(conv, THIRD, to))
}

/// The range of the keys of succession, and with it the length of what they have in common.
pub(super) fn succession_range(conv: &ConvId) -> (Vec<u8>, Vec<u8>) {
    let bytes = conv.as_str().as_bytes();
    ([bytes, &[THIRD]].concat(), [bytes, &[THIRD + 1]].concat())
}

/// The key of a user's line of refresh tokens.
pub(super) fn line(user: &ConvId, id: &Cid) -> Vec<u8> {
    joined(user.as_str(), FOURTH, id.as_str())
}

/// The range of a user's lines.
pub(super) fn lines(user: &ConvId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), FOURTH, ""),
        joined(user.as_str(), FIFTH, ""),
    )
}

/// The id of a line of the user, from its key.
pub(super) fn line_id(user: &ConvId, key: &[u8]) -> Option<Cid> {
    let id = key.strip_prefix(&joined(user.as_str(), FOURTH, "")[..])?;
    Cid::parse(std::str::from_utf8(id).ok()?).ok()
}

/// The key of how often something was asked for.
pub(super) fn count(name: &ConvId) -> Vec<u8> {
    joined("", FIRST, name.as_str())
}

/// The key of a code.
pub(super) fn code(address: &ConvId, id: &Cid) -> Vec<u8> {
    let mut key = joined("", SECOND, address.as_str());
    key.push(0);
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// The key that says when the row of another key is over.
pub(super) fn ending(at_ms: u64, key: &[u8]) -> Vec<u8> {
    [&[THIRD], &at_ms.to_be_bytes()[..], key].concat()
}

/// The range of what is over at `now_ms`.
pub(super) fn endings_until(now_ms: u64) -> (Vec<u8>, Vec<u8>) {
    (vec![THIRD], ending(now_ms.saturating_add(1), b""))
}

/// Returns the key that an ending is about.
pub(super) fn what_ends(ending: &[u8]) -> Option<&[u8]> {
    ending.get(9..)
}

/// The key of the cluster's keys.
pub(super) fn keyring() -> Vec<u8> {
    vec![FOURTH]
}

/// The range of keys that begin with `first` and a zero byte, those up to and including `first 0 after` left out.
pub(super) fn range_after(first: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    range(first, FIRST, after)
}

/// The same of the second sort of rows: bans and blocks.
pub(super) fn second_range_after(first: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    range(first, SECOND, after)
}

/// Returns what stands behind `first` and the byte that names the sort.
pub(super) fn rest<'a>(first: &str, key: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(key.get(first.len() + 1..)?).ok()
}

fn range(first: &str, sort: u8, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let mut start = joined(first, sort, after.unwrap_or(""));
    if after.is_some() {
        start.push(0);
    }
    (start, [first.as_bytes(), &[sort + 1]].concat())
}

fn joined(first: &str, sort: u8, second: &str) -> Vec<u8> {
    [first.as_bytes(), &[sort], second.as_bytes()].concat()
}
