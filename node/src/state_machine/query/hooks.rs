//! Queued webhook messages of a shard.

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::{ConversationId, ConversationKind, UserId};
use storage::ScanOrder;

use super::{QueryError, Result};
use crate::state_machine::keys;
use crate::state_machine::message_state::MessageStateRow;
use crate::state_machine::outcome::OutboxId;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{
    ConvRow, EventKind, EventRow, MemberRow, QueuedWebhookRow, VersionedRow, WebhookPolicyRow, corrupt,
};

/// Queued messages, the oldest of them in detail.
#[derive(Clone, PartialEq, Debug)]
pub struct WebhookBacklog {
    /// Policy announced last by an owner with [`WebhookOp::HooksOn`](crate::state_machine::WebhookOp::HooksOn).
    pub members: u64,
    /// Number of queued messages.
    pub all: u64,
    pub oldest: Vec<QueuedWebhook>,
}

/// Message that is queued for delivery to the webhooks.
#[derive(Clone, PartialEq, Debug)]
pub struct QueuedWebhook {
    /// Entry id for the removal of the message after delivery.
    pub id: OutboxId,
    pub conv: ConversationId,
    pub kind: ConversationKind,
    pub title: Option<String>,
    /// Tail of the message; `None` if it was trimmed or deleted.
    pub tail: Option<Bytes>,
    /// Author of the message; `None` if it was trimmed or deleted.
    pub author: Option<UserId>,
    /// Webhook names of the conversation.
    pub hooks: Vec<String>,
    /// Members without the author; empty if the conversation is larger than the policy allows.
    pub members: Vec<AbsentMember>,
}

/// Member who has not read the message, and is possibly absent.
#[derive(Clone, PartialEq, Debug)]
pub struct AbsentMember {
    pub user: UserId,
    pub muted: bool,
    pub mentioned: bool,
}

/// Returns the queue length and the oldest entries, up to `limit`.
pub fn queued(rows: &impl RowReader, limit: usize) -> Result<WebhookBacklog> {
    let row = rows.get(ChatTable::Webhook, &keys::HOOKS)?;
    let WebhookPolicyRow { members, waiting } = row
        .map(|row| WebhookPolicyRow::decode(&row))
        .transpose()?
        .unwrap_or_default();
    let (start, end) = keys::queued_webhooks();
    let found = rows.scan(ChatTable::Webhook, &start..&end, ScanOrder::Ascending, limit)?;
    let oldest = found.iter().map(|(key, row)| one(rows, key, row, members));
    Ok(WebhookBacklog {
        members,
        all: waiting,
        oldest: oldest.collect::<Result<_>>()?,
    })
}

fn one(rows: &impl RowReader, key: &[u8], row: &[u8], most: u64) -> Result<QueuedWebhook> {
    let id = keys::queued_webhook_id(key);
    let id = id.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of the hook")))?;
    let QueuedWebhookRow { conv, s } = QueuedWebhookRow::decode(row)?;
    let found = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
    let found = found.ok_or_else(|| QueryError::Storage(corrupt("a message without its conversation")))?;
    let found = ConvRow::decode(&found)?;
    let event = rows.get(ChatTable::Message, &keys::message(&conv, s))?;
    let event = event.map(|event| EventRow::decode(&event)).transpose()?;
    // The message may have been deleted or trimmed since it was queued; it must not reach the webhook then.
    let event = event.filter(|event| event.kind == EventKind::Message && s >= found.floor());
    // A conversation beyond the limit was queued for its own webhooks only, so its members stay unread.
    let mut members = Vec::new();
    if let Some(event) = &event
        && found.members <= most
    {
        members = absent_members(rows, &conv, s, event, most)?;
    }
    Ok(QueuedWebhook {
        id,
        kind: found.kind,
        title: found.title.as_deref().map(str::to_owned),
        author: event.as_ref().map(|event| event.author.clone()),
        tail: event.map(|event| event.tail),
        hooks: found.hooks.iter().map(ToString::to_string).collect(),
        members,
        conv,
    })
}

fn absent_members(
    rows: &impl RowReader,
    conv: &ConversationId,
    s: u64,
    event: &EventRow,
    most: u64,
) -> Result<Vec<AbsentMember>> {
    // Evaluated at delivery, so that edits since the message count.
    let mentions = MessageStateRow::of(rows, conv, s)?.mentioned(rows, conv, event)?;
    let (start, end) = keys::succession_range(conv);
    // The role and the start of the membership precede the user in the key.
    let user_at = start.len() + 1 + size_of::<u64>();
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let mut members = Vec::new();
    for (key, _) in rows.scan(ChatTable::Member, &start..&end, ScanOrder::Ascending, limit)? {
        let user = key.get(user_at..).and_then(|user| std::str::from_utf8(user).ok());
        let user = user.and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or_else(|| QueryError::Storage(corrupt("a malformed key of succession")))?;
        let row = rows.get(ChatTable::Member, &keys::member(conv, &user))?;
        let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
        // Only members who could and did not read the message: later members and readers need no notification.
        if let Some(row) = row.filter(|row| row.role.is_some() && row.since <= s && row.read < s)
            && user != event.author
        {
            members.push(AbsentMember {
                muted: row.muted,
                mentioned: mentions.contains(&user),
                user,
            });
        }
    }
    Ok(members)
}
