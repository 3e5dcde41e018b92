//! Erasure of users: the job in the user's shard, its progress in each conversation, and what it has done.
//!
//! The job is rows of the user's shard, so it outlives every owner. The owner of that shard drives it: each conversation
//! of the user goes through [`ErasureOp::EraseIn`](super::ErasureOp::EraseIn) in its own shard, step by step, and then
//! leaves the list of the user. The tombstone id is random and is removed from the job at its end, so nothing leads from
//! the user to the events that stay.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use protocol::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::VersionedRow;

/// Id of an erasure. It hashes to the shard of the user, so a job is found by its id alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ErasureId(pub [u8; 16]);

/// Fate of the messages of an erased user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub enum ErasedMessages {
    /// They stay, with the tombstone id as their author.
    #[serde(rename = "keep-anonymous")]
    KeepAnonymous,
    /// They are deleted as by `del`.
    #[serde(rename = "delete")]
    Delete,
}

/// Step of an erasure in one conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ErasureStep {
    /// True if the conversation does not name the user any more.
    pub done: bool,
    /// Messages of the user so far.
    pub messages: u64,
    /// Other events that named the user so far.
    pub events: u64,
    /// Index of the log entry.
    pub index: u64,
}

/// Work of an erasure in one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErasedShard {
    pub shard: u16,
    pub conversations: u64,
    /// Messages of the user, deleted or made anonymous.
    pub messages: u64,
    /// Other events that named the user.
    pub events: u64,
    /// Index of the last log entry of the erasure in the shard.
    pub index: u64,
}

/// Erasure of a user, a row of the user's shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErasureJob {
    pub user: UserId,
    pub messages: ErasedMessages,
    /// Id that stands for the user in what stays; `None` once the erasure is done.
    pub tombstone: Option<UserId>,
    /// Milliseconds since the epoch.
    pub started_ms: u64,
    /// Milliseconds since the epoch; `None` while the erasure runs.
    pub done_ms: Option<u64>,
    /// Shards with finished work, in ascending order.
    pub shards: Vec<ErasedShard>,
}

/// Mark of an erased user, which stays for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ErasedUserRow {
    pub(super) job: ErasureId,
}

/// Progress of an erasure in one conversation. It names no user.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct ErasureProgressRow {
    /// Events up to this position do not name the user.
    pub(super) s: u64,
    pub(super) messages: u64,
    pub(super) events: u64,
    /// Last ban of which the author was checked; `None` before the first, and once all were.
    pub(super) ban: Option<UserId>,
}

impl VersionedRow for ErasureJob {}
impl VersionedRow for ErasedUserRow {}
impl VersionedRow for ErasureProgressRow {}

// === impl ErasureId ===

impl ErasureId {
    /// Returns the id with this text; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<ErasureId> {
        let id = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let id = ErasureId(id.try_into().ok()?);
        // Upper case would give one job several texts.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ErasureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

// === impl ErasureJob ===

impl ErasureJob {
    /// Returns the entry of a shard, which is added if it is missing.
    pub(super) fn shard(&mut self, shard: u16) -> &mut ErasedShard {
        let at = match self.shards.binary_search_by_key(&shard, |entry| entry.shard) {
            Ok(at) => at,
            Err(at) => {
                let entry = ErasedShard {
                    shard,
                    conversations: 0,
                    messages: 0,
                    events: 0,
                    index: 0,
                };
                self.shards.insert(at, entry);
                at
            }
        };
        &mut self.shards[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_an_erasure_has_one_text() {
        let id = ErasureId(*b"0123456789abcdef");
        let text = id.to_string();
        assert_eq!((text.len(), ErasureId::parse(&text)), (26, Some(id)));
        assert_eq!(ErasureId::parse(&text.to_ascii_uppercase()), None);
        assert_eq!(ErasureId::parse("x"), None);
    }
}
