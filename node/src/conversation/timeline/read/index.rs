//! The conversations of a user, as the user's shard knows them, and the outbox that tells it.

use protocol::{ConvId, UserId};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::command::{Command, Op};
use super::super::door::Rows;
use super::super::keys;
use super::super::outcome::OutboxId;
use super::super::rows::{IndexRow, News, OutboxRow, Row, corrupt};
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
