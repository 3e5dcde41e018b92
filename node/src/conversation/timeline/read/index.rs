//! The conversations of a user, as the user's shard knows them, and the outbox that tells it.

use protocol::answer::Last;
use protocol::{ConvId, UserId};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::command::{Command, Op};
use super::super::door::Rows;
use super::super::keys;
use super::super::outcome::OutboxId;
use super::super::rows::{ConvRow, IndexRow, MemberRow, News, OutboxRow, Row, corrupt};
use super::{Denied, Result};

/// A page of a user's conversations, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IndexPage {
    /// The conversations.
    pub items: Vec<IndexEntry>,
    /// Where the next page begins.
    pub next: Option<ConvId>,
}

/// A conversation of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The conversation.
    pub conv: ConvId,
    /// When the user became a member, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// A conversation of a user and where it stands among the others in time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// The conversation.
    pub conv: ConvId,
    /// Its place: the time of the last message that the user's shard knows of, or of the joining.
    pub ms: u64,
    /// When the user became a member, in milliseconds since the epoch.
    pub since_ms: u64,
    /// The last message that the user's shard knows of.
    pub last: Last,
    /// It stands where it was told at a coarser rhythm, because it has many members.
    pub large: bool,
}

/// Which conversations of a user, in the order of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// From the latest on, or behind a place.
    Older,
    /// From the oldest on, or behind a place.
    Newer,
}

/// A conversation whose members' shards are to be told of its last message.
#[derive(Clone, PartialEq, Debug)]
pub struct Watched {
    /// The conversation.
    pub conv: ConvId,
    /// Its last message.
    pub last: Last,
    /// The number of its members.
    pub members: u64,
}

/// An outbox entry that waits to be told to a user's shard.
#[derive(Clone, PartialEq, Debug)]
pub struct Pending {
    /// Names the entry for [`Op::OutboxDone`].
    pub id: OutboxId,
    /// What is to be proposed to the shard of `command.user`.
    pub command: Command,
}

/// Returns up to `limit` conversations of `user` above `after`.
pub fn index(rows: &impl Rows, user: &UserId, after: Option<&ConvId>, limit: usize) -> Result<IndexPage> {
    let (mut start, end) = keys::range_after(user.as_str(), after.map(ConvId::as_str));
    let mut items: Vec<IndexEntry> = Vec::new();
    loop {
        let found = rows.scan(
            Table::UserIndex,
            &start..&end,
            Order::Ascending,
            limit.saturating_add(1),
        )?;
        for (key, row) in &found {
            let IndexRow {
                member: true, at_ms, ..
            } = IndexRow::decode(row)?
            else {
                continue;
            };
            if items.len() == limit {
                let next = items.last().map(|item| item.conv.clone());
                return Ok(IndexPage { items, next });
            }
            items.push(IndexEntry {
                conv: conv_of(user, key)?,
                since_ms: at_ms,
            });
        }
        match found.last() {
            Some((key, _)) if found.len() > limit => {
                start = key.to_vec();
                start.push(0);
            }
            _ => return Ok(IndexPage { items, next: None }),
        }
    }
}

/// Returns up to `limit` conversations of `user` in the order of time, those behind `from` (a place, and the conversation
/// there): older ones, or newer ones.
pub fn placed(
    rows: &impl Rows,
    user: &UserId,
    from: Option<(u64, &ConvId)>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Placed>> {
    let (mut start, mut end) = keys::orders(user);
    let order = match direction {
        Direction::Older => {
            if let Some((ms, conv)) = from {
                start = keys::order(user, ms, conv);
                start.push(0);
            }
            Order::Ascending
        }
        Direction::Newer => {
            if let Some((ms, conv)) = from {
                end = keys::order(user, ms, conv);
            }
            Order::Descending
        }
    };
    let found = rows.scan(Table::UserIndex, &start..&end, order, limit)?;
    found.iter().map(|(key, row)| entry_at(user, key, row)).collect()
}

fn entry_at(user: &UserId, key: &[u8], row: &[u8]) -> Result<Placed> {
    let (ms, conv) =
        keys::ordered(user, key).ok_or_else(|| Denied::Storage(corrupt("a malformed key of order")))?;
    let IndexRow {
        at_ms, last, large, ..
    } = IndexRow::decode(row)?;
    Ok(Placed {
        conv,
        ms,
        since_ms: at_ms,
        last,
        large,
    })
}

/// Returns up to `limit` conversations of a shard that are watched, above `after` in the order of their ids.
pub fn watches(rows: &impl Rows, after: Option<&ConvId>, limit: usize) -> Result<Vec<ConvId>> {
    let (start, end) = keys::watches_after(after);
    let found = rows.scan(Table::Outbox, &start..&end, Order::Ascending, limit)?;
    let conv = |(key, _): &(bytes::Bytes, bytes::Bytes)| {
        keys::watched(key).ok_or_else(|| Denied::Storage(corrupt("a malformed key of a watch")))
    };
    found.iter().map(conv).collect()
}

/// Returns where a watched conversation stands; `None`: it is not watched any more.
pub fn watched(rows: &impl Rows, conv: &ConvId) -> Result<Option<Watched>> {
    let row = rows.get(Table::Conversation, conv.as_str().as_bytes())?;
    let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
    Ok(row.filter(|row| row.watched).map(|row| Watched {
        conv: conv.clone(),
        last: Last {
            s: row.message_s,
            mn: row.last_mn,
            ts: row.message_ts,
        },
        members: row.members,
    }))
}

/// Returns up to `limit` members of a conversation above `after` in the order of their ids, whoever asks.
pub fn members_after(
    rows: &impl Rows,
    conv: &ConvId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>> {
    let (start, end) = keys::range_after(conv.as_str(), after.map(UserId::as_str));
    let mut users = Vec::new();
    let mut start = start;
    loop {
        let found = rows.scan(Table::Member, &start..&end, Order::Ascending, limit)?;
        for (key, row) in &found {
            if MemberRow::decode(row)?.role.is_none() {
                continue;
            }
            let user = keys::rest(conv.as_str(), key).and_then(|user| UserId::parse(user).ok());
            users.push(user.ok_or_else(|| Denied::Storage(corrupt("a malformed key of a member")))?);
            if users.len() == limit {
                return Ok(users);
            }
        }
        match found.last() {
            Some((key, _)) if found.len() == limit => start = [&key[..], &[0]].concat(),
            _ => return Ok(users),
        }
    }
}

/// Returns up to `limit` outbox entries of a shard above `after`, oldest first. They stay until [`Op::OutboxDone`]:
/// propose each to its user's shard and confirm it afterwards; a repetition does no harm.
pub fn outbox(rows: &impl Rows, after: Option<OutboxId>, limit: usize) -> Result<Vec<Pending>> {
    let mut start = after.map(|id| id.key().to_vec()).unwrap_or_default();
    if after.is_some() {
        start.push(0);
    }
    // What is above it is the hook's.
    let end = keys::HOOKS;
    let found = rows.scan(Table::Outbox, &start..&end, Order::Ascending, limit)?;
    found.iter().map(|(key, row)| pending(key, row)).collect()
}

fn pending(key: &[u8], row: &[u8]) -> Result<Pending> {
    let id = OutboxId::from_key(key).ok_or_else(|| Denied::Storage(corrupt("a malformed outbox key")))?;
    let OutboxRow {
        conv,
        user,
        news,
        at_ms,
    } = OutboxRow::decode(row)?;
    let version = id;
    let op = match news {
        News::Joined | News::Left => Op::IndexPut {
            member: news == News::Joined,
            version,
            at_ms,
        },
        News::Block { who, on } => Op::BlockPut {
            who,
            on,
            version,
            at_ms,
        },
    };
    Ok(Pending {
        id,
        command: Command {
            conv,
            user,
            cid: None,
            skip: 0,
            op,
        },
    })
}

fn conv_of(user: &UserId, key: &[u8]) -> Result<ConvId> {
    let conv = keys::rest(user.as_str(), key).and_then(|conv| ConvId::parse(conv).ok());
    conv.ok_or_else(|| Denied::Storage(corrupt("a malformed index key")))
}
