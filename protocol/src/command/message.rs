//! Message commands: `send`, `edit`, `del`, `react` and `typing`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, bad, most};
use crate::error::ErrorCode;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::payload::Body;
use crate::{limits, text};

/// Fields of the `send` command, which sends a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Send)]
pub struct SendMessage {
    /// Id of the conversation. Exactly one of `c` and `to` must be given.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The other user of a direct conversation, which is created if it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// Body of the message, a JSON object of at most 16 KiB.
    #[serde(rename = "b")]
    pub body: Body,
    /// The `s` of the message to which this one replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Users to notify, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub mentions: Vec<UserId>,
    /// True if the sending session receives the event in addition to the `ack`. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub echo: bool,
}

/// Destination of a `send` command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendTarget<'a> {
    /// Sends to an existing conversation.
    Conv(&'a ConversationId),
    /// Sends to the direct conversation with a user.
    User(&'a UserId),
}

/// Fields of the `edit` command, which replaces the body of a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Edit)]
pub struct EditMessage {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The `s` of the message.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The new body, a JSON object of at most 16 KiB.
    #[serde(rename = "b")]
    pub body: Body,
    /// Users to notify from now on, at most 50; if absent, the mentions of the message stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub mentions: Option<Vec<UserId>>,
}

/// Fields of the `del` command, which deletes a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Del)]
pub struct DeleteMessage {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The `s` of the message.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
}

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
    #[schema(min_length = 1, max_length = 32)]
    #[serde(rename = "k")]
    pub reaction: String,
    /// True sets the reaction, false removes it.
    #[serde(rename = "on")]
    pub active: bool,
    /// The user whose reaction is removed, if it is not the sender's own. Only owners and admins may set it, and only
    /// with `on` false.
    #[serde(rename = "who", default, skip_serializing_if = "Option::is_none")]
    pub member: Option<UserId>,
}

/// Fields of the `typing` command, which has no response.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Typing)]
pub struct SetTyping {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// True while the user types, false when the user has stopped.
    #[serde(rename = "on")]
    pub active: bool,
}

// === impl SendMessage, EditMessage, SetReaction ===

impl SendMessage {
    /// Returns the destination; `None` unless exactly one of `c` and `to` is set.
    /// [`Request::decode`](crate::Request::decode) has checked that already.
    pub fn target(&self) -> Option<SendTarget<'_>> {
        match (&self.conversation, &self.to) {
            (Some(c), None) => Some(SendTarget::Conv(c)),
            (None, Some(to)) => Some(SendTarget::User(to)),
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), Reject> {
        if self.target().is_none() {
            return Err(bad("exactly one of c and to must be given"));
        }
        body(&self.body)?;
        most("mentions", self.mentions.len(), limits::MENTIONS)
    }
}

impl EditMessage {
    pub(super) fn check(&self) -> Result<(), Reject> {
        body(&self.body)?;
        most(
            "mentions",
            self.mentions.as_ref().map_or(0, Vec::len),
            limits::MENTIONS,
        )
    }
}

impl SetReaction {
    pub(super) fn check(&self) -> Result<(), Reject> {
        if self.active && self.member.is_some() {
            return Err(bad("who is only for removing a reaction: on must be false"));
        }
        text::reaction(&self.reaction).map_err(bad)
    }
}

fn body(b: &Body) -> Result<(), Reject> {
    // Measured on the JSON text, because that is stored and sent to every member.
    if b.as_str().len() > limits::BODY_BYTES {
        return Err((
            ErrorCode::TooLarge,
            format!("b exceeds {} bytes", limits::BODY_BYTES),
        ));
    }
    Ok(())
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
