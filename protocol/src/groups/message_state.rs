//! Current state of messages, for clients that show a conversation without processing its events. Only REST returns it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::messages::MessageEvent;
use crate::codec::is_false;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::payload::Body;

/// A page of messages in their current state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessagePage {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The messages, in ascending order of `s`.
    pub items: Vec<MessageState>,
    /// True if more messages exist in the requested direction.
    pub more: bool,
    /// True if messages behind `after` are missing: they expired, the user may not read them, or the log ends before
    /// `after`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// A message in its current state, with all edits and reactions applied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageState {
    /// Sequence number of the message in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Ordinal of the message, counting messages only.
    #[serde(rename = "mn")]
    pub message_number: u64,
    /// Time of sending, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The user who sent the message.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The sender's idempotency key.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The current body; empty if the message was deleted.
    #[serde(rename = "b")]
    pub body: Body,
    /// Time of the last edit, in milliseconds since the Unix epoch; absent if never edited.
    #[serde(rename = "edited_ts", default, skip_serializing_if = "Option::is_none")]
    pub edited_timestamp_ms: Option<u64>,
    /// Number of users per reaction.
    #[serde(default)]
    #[schema(required)]
    pub reactions: BTreeMap<String, u64>,
    /// True if the message was deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// The `s` of the message to which this one replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Users to notify, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub mentions: Vec<UserId>,
}

// === impl MessageState ===

impl From<MessageEvent> for MessageState {
    /// Returns the message as it was sent, or the rest of it if it was deleted since.
    fn from(msg: MessageEvent) -> MessageState {
        MessageState {
            seq: msg.seq,
            message_number: msg.message_number,
            timestamp_ms: msg.timestamp_ms,
            user: msg.user,
            client_message_id: msg.client_message_id,
            body: msg.body,
            // A `msg` event contains neither edits nor reactions: the reader of the log adds them.
            edited_timestamp_ms: None,
            reactions: BTreeMap::new(),
            deleted: msg.deleted,
            reply_to: msg.reply_to,
            mentions: msg.mentions,
        }
    }
}
