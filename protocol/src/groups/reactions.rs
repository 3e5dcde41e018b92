//! Reactions to messages: `react` and its event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::Ack;
use crate::check::{Rejection, bad};
use crate::cost::CommandCost;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::shape::{CommandFields, EventFields, ShapeFields};
use crate::text;

/// Fields of the `react` command, which sets or removes a reaction.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::React)]
pub struct SetReaction {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The `s` of the message.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The reaction: 1 to 32 bytes of displayable text.
    #[serde(rename = "k")]
    #[schema(min_length = 1, max_length = 32)]
    pub reaction: String,
    /// True sets the reaction, false removes it.
    #[serde(rename = "on")]
    pub active: bool,
    /// The user whose reaction is removed, if it is not the sender's own. Only owners and admins may set it, and only
    /// with `on` false.
    #[serde(rename = "who", default, skip_serializing_if = "Option::is_none")]
    pub member: Option<UserId>,
}

/// Fields of the `react` event: a reaction was set or removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::React)]
pub struct ReactionEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of this event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// The `s` of the message with the reaction.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// The user whose reaction was set or removed.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The reaction, 1 to 32 bytes of text.
    #[serde(rename = "k")]
    pub reaction: String,
    /// True if the reaction was set, false if it was removed.
    #[serde(rename = "on")]
    pub active: bool,
    /// The owner or admin who removed the reaction; absent if the user did it.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<UserId>,
}

// === shapes ===

impl ShapeFields for SetReaction {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","of":4,"cid":"7f3a2d","k":"👍","on":true}"#;
}

impl CommandFields for SetReaction {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        if self.active && self.member.is_some() {
            return Err(bad("who is only for removing a reaction: on must be false"));
        }
        text::reaction(&self.reaction).map_err(bad)
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for ReactionEvent {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":5,"of":4,"u":"ben","ts":1795912692663,"k":"👍","#,
        r#""on":true}"#,
    );
}

impl EventFields for ReactionEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }
}
