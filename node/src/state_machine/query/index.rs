//! Conversations of a user from the user's shard, and the outbox that updates those rows.

use crate::state_machine::ChatTable;
use protocol::response::LastEvent;
use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::live_rows::live_rows;
use super::{QueryError, Result, ShardQuery};
use crate::state_machine::command::ShardCommand;
use crate::state_machine::command_table::UserOp;
use crate::state_machine::keys;
use crate::state_machine::outcome::OutboxId;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{
    ConvRow, IndexRow, MemberRow, OutboxChange, OutboxRow, VersionedRow, corrupt,
};

/// Maximum number of conversations in one page.
pub(crate) const INDEX_LIMIT: usize = 1000;

/// Query for a page of a user's conversations in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IndexAfter {
    pub user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub after: Option<ConversationId>,
    pub limit: u32,
}

/// Query for conversations of a user in the order of time, in the requested direction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IndexQuery {
    pub user: UserId,
    /// Exclusive start as time in milliseconds and id; `None` for the end of the list.
    pub from: Option<(u64, ConversationId)>,
    pub direction: Direction,
    pub limit: u32,
}

/// Page of a user's conversations, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IndexPage {
    pub items: Vec<IndexEntry>,
    /// Cursor of the next page: the last id of this one; `None` on the last page.
    pub next: Option<ConversationId>,
}

/// Conversation of a user, and the start of the membership.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IndexEntry {
    pub conv: ConversationId,
    /// Start of the membership, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// Conversation of a user with its place in the order by time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlacedEntry {
    pub conv: ConversationId,
    /// Order key: time of the last message recorded in the user's shard, or of the joining if that is later.
    pub ms: u64,
    /// Start of the membership, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Last message recorded in the user's shard.
    pub last: LastEvent,
    /// True for a conversation with many members, whose activity is recorded at longer intervals.
    pub large: bool,
}

/// Direction of a page in the order by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// From the latest downwards, or below a place.
    Older,
    /// From the oldest upwards, or above a place.
    Newer,
}

/// Conversation with an activity watch.
#[derive(Clone, PartialEq, Debug)]
pub struct WatchedConversation {
    pub conv: ConversationId,
    pub last: LastEvent,
    pub members: u64,
}

/// Outbox entry that a user's shard has not confirmed yet.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboxEntry {
    /// Entry id for [`OutboxOp::OutboxDone`](crate::state_machine::OutboxOp::OutboxDone).
    pub id: OutboxId,
    /// Command to propose to the shard of its user.
    pub command: ShardCommand,
}

// === impl IndexAfter, IndexQuery ===

impl ShardQuery for IndexAfter {
    type Page = IndexPage;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<IndexPage> {
        let IndexAfter { user, after, limit } = self;
        let (start, end) = keys::range_after(user.as_str(), after.as_ref().map(ConversationId::as_str));
        // Former memberships leave a row.
        let item = |key: &[u8], row: &[u8]| match IndexRow::decode(row)? {
            IndexRow {
                member: true, at_ms, ..
            } => Ok(Some(IndexEntry {
                conv: conv_of(user, key)?,
                since_ms: at_ms,
            })),
            _ => Ok(None),
        };
        let limit = (*limit as usize).min(INDEX_LIMIT);
        let page = live_rows(rows, ChatTable::UserIndex, start..end, limit, usize::MAX, item)?;
        let next = page.next.map(|key| conv_of(user, &key)).transpose()?;
        Ok(IndexPage {
            items: page.items,
            next,
        })
    }
}

impl ShardQuery for IndexQuery {
    type Page = Vec<PlacedEntry>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<Vec<PlacedEntry>> {
        let from = self.from.as_ref().map(|(ms, conv)| (*ms, conv));
        let limit = (self.limit as usize).min(INDEX_LIMIT);
        placed(rows, &self.user, from, self.direction, limit)
    }
}

/// Returns up to `limit` conversations of `user` in the order by time, older or newer than the place `from`.
pub fn placed(
    rows: &impl RowReader,
    user: &UserId,
    from: Option<(u64, &ConversationId)>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<PlacedEntry>> {
    let (mut start, mut end) = keys::orders(user);
    // The order key holds the inverted time, so older conversations follow in ascending order.
    let order = match direction {
        Direction::Older => {
            if let Some((ms, conv)) = from {
                start = keys::order(user, ms, conv);
                start.push(0);
            }
            ScanOrder::Ascending
        }
        Direction::Newer => {
            if let Some((ms, conv)) = from {
                end = keys::order(user, ms, conv);
            }
            ScanOrder::Descending
        }
    };
    let found = rows.scan(ChatTable::UserIndex, &start..&end, order, limit)?;
    found.iter().map(|(key, row)| entry_at(user, key, row)).collect()
}

fn entry_at(user: &UserId, key: &[u8], row: &[u8]) -> Result<PlacedEntry> {
    let (ms, conv) =
        keys::ordered(user, key).ok_or_else(|| QueryError::Storage(corrupt("a malformed key of order")))?;
    let IndexRow {
        at_ms, last, large, ..
    } = IndexRow::decode(row)?;
    Ok(PlacedEntry {
        conv,
        ms,
        since_ms: at_ms,
        last,
        large,
    })
}

/// Returns up to `limit` conversations of a shard with an activity watch, above `after` in the order of their ids.
pub fn watches(
    rows: &impl RowReader,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    let (start, end) = keys::watches_after(after);
    let found = rows.scan(ChatTable::Outbox, &start..&end, ScanOrder::Ascending, limit)?;
    let conv = |(key, _): &(bytes::Bytes, bytes::Bytes)| {
        keys::watched(key).ok_or_else(|| QueryError::Storage(corrupt("a malformed key of a watch")))
    };
    found.iter().map(conv).collect()
}

/// Returns the last message of a conversation with an activity watch; `None` without a watch.
pub fn watched(rows: &impl RowReader, conv: &ConversationId) -> Result<Option<WatchedConversation>> {
    let row = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
    let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
    Ok(row.filter(|row| row.watched).map(|row| WatchedConversation {
        conv: conv.clone(),
        last: LastEvent {
            seq: row.message_s,
            message_number: row.last_mn,
            timestamp_ms: row.message_ts,
        },
        members: row.members,
    }))
}

/// Returns up to `limit` members of a conversation above `after` in the order of their ids, without a permission check.
pub fn members_after(
    rows: &impl RowReader,
    conv: &ConversationId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>> {
    let (start, end) = keys::range_after(conv.as_str(), after.map(UserId::as_str));
    // Former members leave a row.
    let item = |key: &[u8], row: &[u8]| match MemberRow::decode(row)?.role {
        Some(_) => {
            let user = keys::rest(conv.as_str(), key).and_then(|user| UserId::parse(user).ok());
            let user = user.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of a member")));
            user.map(Some)
        }
        None => Ok(None),
    };
    let page = live_rows(rows, ChatTable::Member, start..end, limit, usize::MAX, item)?;
    Ok(page.items)
}

/// Returns up to `limit` outbox entries of a shard above `after`, oldest first. They stay until
/// `OutboxOp::OutboxDone`: the caller proposes each to its user's shard and confirms it afterwards. A repetition is
/// harmless.
pub fn outbox(rows: &impl RowReader, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxEntry>> {
    let (start, end) = keys::outbox_after(after);
    let found = rows.scan(ChatTable::Outbox, &start..&end, ScanOrder::Ascending, limit)?;
    found.iter().map(|(key, row)| pending(key, row)).collect()
}

fn pending(key: &[u8], row: &[u8]) -> Result<OutboxEntry> {
    let id = keys::outbox_id(key).ok_or_else(|| QueryError::Storage(corrupt("a malformed outbox key")))?;
    let OutboxRow {
        conv,
        user,
        change,
        at_ms,
    } = OutboxRow::decode(row)?;
    // Later changes have greater entry ids, so the id is also the version.
    let version = id;
    let op = match change {
        OutboxChange::Joined | OutboxChange::Left => UserOp::IndexPut {
            conversation: conv,
            member: change == OutboxChange::Joined,
            version,
            at_ms,
        },
        OutboxChange::Block { who, on } => UserOp::BlockPut {
            who,
            on,
            version,
            at_ms,
        },
    };
    Ok(OutboxEntry {
        id,
        command: ShardCommand::User { user, op },
    })
}

fn conv_of(user: &UserId, key: &[u8]) -> Result<ConversationId> {
    let conv = keys::rest(user.as_str(), key).and_then(|conv| ConversationId::parse(conv).ok());
    conv.ok_or_else(|| QueryError::Storage(corrupt("a malformed index key")))
}
