//! What waits to be told to the hook.

use bytes::Bytes;
use protocol::{ConvId, Kind, UserId};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::fold::FoldRow;
use super::super::keys;
use super::super::outcome::OutboxId;
use super::super::rows::{ConvRow, EventKind, EventRow, HooksRow, IntentRow, MemberRow, Row, corrupt};
use super::{Denied, Result};

/// The oldest of what waits.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// What the shard was told last by an owner: [`Op::HooksOn`](super::super::Op::HooksOn).
    pub members: u64,
    /// How many messages wait.
    pub all: u64,
    /// The oldest of them.
    pub oldest: Vec<ToTell>,
}

/// A message that the hook is to be told of.
#[derive(Clone, PartialEq, Debug)]
pub struct ToTell {
    /// Names the entry for [`Op::HooksTold`](super::super::Op::HooksTold).
    pub id: OutboxId,
    /// The conversation.
    pub conv: ConvId,
    /// Its kind.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// The tail of the message; `None` if it is gone or was deleted.
    pub tail: Option<Bytes>,
    /// Who wrote it; `None` likewise.
    pub author: Option<UserId>,
    /// The names under which the conversation's messages are told.
    pub hooks: Vec<String>,
    /// The members but its author, if the conversation is not too large.
    pub members: Vec<Away>,
}

/// A member, who may be away.
#[derive(Clone, PartialEq, Debug)]
pub struct Away {
    /// The user.
    pub user: UserId,
    /// Whether the member wants no alerts.
    pub muted: bool,
    /// Whether the message mentions the member.
    pub mentioned: bool,
}

/// Returns what waits, of it the oldest up to `limit`.
pub fn to_tell(rows: &impl Rows, limit: usize) -> Result<Waiting> {
    let row = rows.get(Table::Outbox, &keys::HOOKS)?;
    let HooksRow { members, waiting } = row
        .map(|row| HooksRow::decode(&row))
        .transpose()?
        .unwrap_or_default();
    let (start, end) = keys::intents();
    let found = rows.scan(Table::Outbox, &start..&end, Order::Ascending, limit)?;
    let oldest = found.iter().map(|(key, row)| one(rows, key, row, members));
    Ok(Waiting {
        members,
        all: waiting,
        oldest: oldest.collect::<Result<_>>()?,
    })
}

fn one(rows: &impl Rows, key: &[u8], row: &[u8], most: u64) -> Result<ToTell> {
    let id = key.get(keys::HOOKS.len()..).and_then(OutboxId::from_key);
    let id = id.ok_or_else(|| Denied::Storage(corrupt("a malformed key of the hook")))?;
    let IntentRow { conv, s } = IntentRow::decode(row)?;
    let found = rows.get(Table::Conversation, conv.as_str().as_bytes())?;
    let found = found.ok_or_else(|| Denied::Storage(corrupt("a message without its conversation")))?;
    let found = ConvRow::decode(&found)?;
    let event = rows.get(Table::Message, &keys::message(&conv, s))?;
    let event = event.map(|event| EventRow::decode(&event)).transpose()?;
    let event = event.filter(|event| event.kind == EventKind::Message && s >= found.floor());
    let mut members = Vec::new();
    if let Some(event) = &event
        && found.members <= most
    {
        members = away(rows, &conv, s, event, most)?;
    }
    Ok(ToTell {
        id,
        kind: found.kind,
        title: found.title.as_deref().map(str::to_owned),
        author: event.as_ref().map(|event| event.author.clone()),
        tail: event.map(|event| event.tail),
        hooks: found.later.hooks.iter().map(ToString::to_string).collect(),
        members,
        conv,
    })
}

fn away(rows: &impl Rows, conv: &ConvId, s: u64, event: &EventRow, most: u64) -> Result<Vec<Away>> {
    let mentions = FoldRow::of(rows, conv, s)?.mentioned(rows, conv, event)?;
    let (start, end) = keys::succession_range(conv);
    // The role and the event's place are before the user.
    let user_at = start.len() + 1 + size_of::<u64>();
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let mut members = Vec::new();
    for (key, _) in rows.scan(Table::Member, &start..&end, Order::Ascending, limit)? {
        let user = key.get(user_at..).and_then(|user| std::str::from_utf8(user).ok());
        let user = user.and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or_else(|| Denied::Storage(corrupt("a malformed key of succession")))?;
        let row = rows.get(Table::Member, &keys::member(conv, &user))?;
        let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
        if let Some(row) = row.filter(|row| row.role.is_some() && row.since <= s && row.read < s)
            && user != event.author
        {
            members.push(Away {
                muted: row.muted,
                mentioned: mentions.contains(&user),
                user,
            });
        }
    }
    Ok(members)
}
