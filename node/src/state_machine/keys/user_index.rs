//! Keys of the index of users: conversations of a user, settings, access and erasure.

use protocol::{ClientMessageId, ConversationId, UserId};

use super::{FIFTH, FIRST, SECOND, THIRD, joined, pair, parts};
use crate::state_machine::erasure::ErasureId;

/// Kinds of rows behind the user.
const WISHES: u8 = 8;
const ADDED: u8 = 9;
const ACCESS: u8 = 10;
const PROFILE: u8 = 11;
const ERASED: u8 = 12;

/// Returns the key of a user's row for a conversation.
pub(in crate::state_machine) fn index(user: &UserId, conv: &ConversationId) -> Vec<u8> {
    pair(user.as_str(), conv.as_str())
}

/// Returns the key of a user's conversation by time. The time is inverted, so the latest sorts first.
pub(in crate::state_machine) fn order(user: &UserId, ms: u64, conv: &ConversationId) -> Vec<u8> {
    let mut key = joined(user.as_str(), FIFTH, "");
    key.extend_from_slice(&(!ms).to_be_bytes());
    key.extend_from_slice(conv.as_str().as_bytes());
    key
}

/// Returns the range of a user's keys of [`order`].
pub(in crate::state_machine) fn orders(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), FIFTH, ""),
        [user.as_str().as_bytes(), &[FIFTH + 1]].concat(),
    )
}

/// Returns the time and the conversation in a key of [`order`].
pub(in crate::state_machine) fn ordered(user: &UserId, key: &[u8]) -> Option<(u64, ConversationId)> {
    let rest = key.get(user.as_str().len() + 1..)?;
    let (ms, conv) = rest.split_first_chunk::<8>()?;
    let conv = ConversationId::parse(std::str::from_utf8(conv).ok()?).ok()?;
    Some((!u64::from_be_bytes(*ms), conv))
}

/// Returns the key of a block.
pub(in crate::state_machine) fn block(user: &UserId, other: &UserId) -> Vec<u8> {
    joined(user.as_str(), SECOND, other.as_str())
}

/// Returns the key of a user's last-seen time.
pub(in crate::state_machine) fn seen(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), THIRD, "")
}

/// Returns the key of a user's own settings that concern others.
pub(in crate::state_machine) fn wishes(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), WISHES, "")
}

/// Returns the key of a user's profile.
pub(in crate::state_machine) fn profile(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), PROFILE, "")
}

/// Returns the key of a counted addition of `user` by `by`.
pub(in crate::state_machine) fn added(
    user: &UserId,
    by: &UserId,
    conv: &ConversationId,
    cid: &ClientMessageId,
) -> Vec<u8> {
    let key = added_by(user, by);
    [&key[..], conv.as_str().as_bytes(), &[0], cid.as_str().as_bytes()].concat()
}

/// Returns the common prefix of the counted additions of `user` by `by`.
pub(in crate::state_machine) fn added_by(user: &UserId, by: &UserId) -> Vec<u8> {
    joined(user.as_str(), ADDED, &format!("{by}\0"))
}

/// Returns the range of the counted additions of `user` by `by`.
pub(in crate::state_machine) fn added_by_one(user: &UserId, by: &UserId) -> (Vec<u8>, Vec<u8>) {
    let start = added_by(user, by);
    (start, joined(user.as_str(), ADDED, &format!("{by}\u{1}")))
}

/// Returns the range of the counted additions of `user` by anybody.
pub(in crate::state_machine) fn added_by_anybody(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), ADDED, ""),
        joined(user.as_str(), ADDED + 1, ""),
    )
}

/// Returns the key of the access of a user.
pub(in crate::state_machine) fn access(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), ACCESS, "")
}

/// Returns the key of the mark of an erased user.
pub(in crate::state_machine) fn erased(user: &UserId) -> Vec<u8> {
    joined(user.as_str(), ERASED, "")
}

/// Returns the range of the rows of a user that an erasure removes, without the conversations.
pub(in crate::state_machine) fn erasable(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    (
        joined(user.as_str(), SECOND, ""),
        joined(user.as_str(), ACCESS, ""),
    )
}

/// Returns the key of an erasure.
pub(in crate::state_machine) fn erasure(id: ErasureId) -> Vec<u8> {
    [&[FIRST], &id.0[..]].concat()
}

/// Returns the key of an erasure that is under way.
pub(in crate::state_machine) fn running_erasure(id: ErasureId) -> Vec<u8> {
    [&[SECOND], &id.0[..]].concat()
}

/// Returns the range of the keys of [`running_erasure`].
pub(in crate::state_machine) fn running_erasures() -> ([u8; 1], [u8; 1]) {
    ([SECOND], [THIRD])
}

/// Returns the id in a key of [`running_erasure`].
pub(in crate::state_machine) fn running_erasure_id(key: &[u8]) -> Option<ErasureId> {
    Some(ErasureId(key.strip_prefix(&[SECOND])?.try_into().ok()?))
}

/// Kind of a row whose key names a user and a second id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state_machine) enum KeyKind {
    Index,
    Block,
}

/// Returns the user and the second id in the key of a row for a conversation or of a block; `None` for the other rows of
/// that table.
pub(in crate::state_machine) fn user_parts(key: &[u8]) -> Option<(KeyKind, UserId, &str)> {
    let (user, kind, second) = parts(key)?;
    let kind = match kind {
        FIRST => KeyKind::Index,
        SECOND => KeyKind::Block,
        _ => return None,
    };
    Some((kind, UserId::parse(user).ok()?, second))
}
