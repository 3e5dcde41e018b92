//! Keys of the machine's rows.
//!
//! ```text
//! Conversation   conv
//! Message        conv 0 s:u64             the log
//!                conv 1 s:u64             what has become of the message there
//!                conv 2 s:u64 user 0 k    who has set which reaction to it
//! Member         conv 0 user
//! Dedup          conv 0 user 0 cid        of a conversation
//!                0 user 0 cid             of `create` (in the user's shard)
//!                0 user                   how many of those there are
//! UserIndex      user 0 conv
//! Outbox         index:u64 n:u32
//! ```
//! Numbers are big-endian. Ids contain no zero byte (a cid may, and stands last), so no key is a prefix of another
//! conversation's.

use protocol::{Cid, ConvId, UserId};

/// A key of two parts.
pub(super) fn pair(first: &str, second: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(first.len() + second.len() + 1);
    key.extend_from_slice(first.as_bytes());
    key.push(0);
    key.extend_from_slice(second.as_bytes());
    key
}

/// The key of an event.
pub(super) fn message(conv: &ConvId, s: u64) -> Vec<u8> {
    placed(conv, 0, s)
}

/// The key of what has become of a message.
pub(super) fn fold(conv: &ConvId, s: u64) -> Vec<u8> {
    placed(conv, 1, s)
}

/// The key of a user's reaction to a message.
pub(super) fn reaction(conv: &ConvId, s: u64, user: &UserId, k: &str) -> Vec<u8> {
    let mut key = placed(conv, 2, s);
    key.extend_from_slice(user.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(k.as_bytes());
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

/// The range of keys that begin with `first` and a zero byte, those up to and including `first 0 after` left out.
pub(super) fn range_after(first: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let mut start = pair(first, after.unwrap_or(""));
    if after.is_some() {
        start.push(0);
    }
    let mut end = first.as_bytes().to_vec();
    end.push(1);
    (start, end)
}
