//! Messages: `send` and the `msg` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::Ack;
use crate::check::{self, Rejection, bad, most};
use crate::codec::{is_false, push_text, push_u64};
use crate::cost::{CommandCost, changes, parts};
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::limits;
use crate::payload::Body;
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Body bytes per additional token: they are written by every replica and sent to every member.
const BODY_BYTES: usize = 4_096;
/// Mentions per additional token of a message.
const MENTIONS: usize = 10;

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

/// Fields of the `msg` event: a message was sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Msg)]
pub struct MessageEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of the event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Ordinal of the message, counting messages only.
    #[serde(rename = "mn")]
    pub message_number: u64,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The user who sent the message.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Idempotency key of the `send` command.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// Body of the message, a JSON object.
    #[serde(rename = "b")]
    pub body: Body,
    /// The `s` of the message to which this one replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Users to notify, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub mentions: Vec<UserId>,
    /// True if the message was deleted since; `b` is then empty and `mentions` absent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

/// Borrowed parts of a [`MessageEvent`], for the hot path: encoding clones nothing.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// Id of the conversation.
    pub conversation: &'a ConversationId,
    /// Sequence number of the event in its conversation.
    pub seq: u64,
    /// Ordinal of the message, counting messages only.
    pub message_number: u64,
    /// Time of the event, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The user who sent the message.
    pub user: &'a UserId,
    /// Idempotency key of the `send` command.
    pub client_message_id: &'a ClientMessageId,
    /// Body of the message, the text of a JSON object.
    pub body: &'a str,
    /// The `s` of the message to which this one replies.
    pub reply_to: Option<u64>,
    /// Users to notify, at most 50.
    pub mentions: &'a [UserId],
    /// True if the message was deleted since.
    pub deleted: bool,
}

// === impl SendMessage ===

impl SendMessage {
    /// Returns the destination; `None` unless exactly one of `c` and `to` is set.
    /// [`Request::decode`](crate::Request::decode) has checked that already.
    pub fn target(&self) -> Option<SendTarget<'_>> {
        match (&self.conversation, &self.to) {
            (Some(conversation), None) => Some(SendTarget::Conv(conversation)),
            (None, Some(to)) => Some(SendTarget::User(to)),
            _ => None,
        }
    }
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// Returns the cost of a message or of an edit of one.
pub(super) fn message_cost(body: &Body, mentions: usize) -> CommandCost {
    changes(1 + parts(body.as_str().len(), BODY_BYTES) + parts(mentions, MENTIONS))
}

// === impl MessageEvent, MessageParts ===

impl MessageEvent {
    /// Returns the borrowed parts of the message.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            conversation: &self.conversation,
            seq: self.seq,
            message_number: self.message_number,
            timestamp_ms: self.timestamp_ms,
            user: &self.user,
            client_message_id: &self.client_message_id,
            body: self.body.as_str(),
            reply_to: self.reply_to,
            mentions: &self.mentions,
            deleted: self.deleted,
        }
    }
}

impl MessageParts<'_> {
    /// Returns the tail: the encoded event without `{"n":413,`.
    pub fn tail(&self) -> String {
        // Written by hand because the event is frequent; `tests/golden.rs` freezes the bytes.
        let mut out = String::with_capacity(self.body.len() + 256 + self.mentions.len() * 24);
        out.push_str("\"t\":\"msg\",\"c\":\"");
        // Ids need no escape: their characters were checked when they were parsed. A `cid` is any text and does.
        out.push_str(self.conversation.as_str());
        out.push_str("\",\"s\":");
        push_u64(&mut out, self.seq);
        out.push_str(",\"mn\":");
        push_u64(&mut out, self.message_number);
        out.push_str(",\"ts\":");
        push_u64(&mut out, self.timestamp_ms);
        out.push_str(",\"u\":\"");
        out.push_str(self.user.as_str());
        out.push_str("\",\"cid\":");
        push_text(&mut out, self.client_message_id.as_str());
        out.push_str(",\"b\":");
        // Verbatim: parsing the body and writing it again would change its numbers.
        out.push_str(self.body);
        if let Some(reply_to) = self.reply_to {
            out.push_str(",\"reply_to\":");
            push_u64(&mut out, reply_to);
        }
        for (i, user) in self.mentions.iter().enumerate() {
            out.push_str(if i == 0 { ",\"mentions\":[\"" } else { ",\"" });
            out.push_str(user.as_str());
            out.push('"');
        }
        if !self.mentions.is_empty() {
            out.push(']');
        }
        out.push_str(if self.deleted { ",\"deleted\":true}" } else { "}" });
        out
    }
}

// === shapes ===

impl ShapeFields for SendMessage {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2c","b":{"text":"Viewing at six?"},"#,
        r#""mentions":["ben"]}"#,
    );
}

impl CommandFields for SendMessage {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        if self.target().is_none() {
            return Err(bad("exactly one of c and to must be given"));
        }
        check::body(&self.body)?;
        most("mentions", self.mentions.len(), limits::MENTIONS)
    }

    fn cost(&self) -> CommandCost {
        message_cost(&self.body, self.mentions.len())
    }
}

impl ShapeFields for MessageEvent {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":4,"mn":1,"ts":1795912692652,"u":"ada","cid":"7f3a2c","#,
        r#""b":{"text":"Viewing at six?"},"mentions":["ben"]}"#,
    );
}

impl EventFields for MessageEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }

    fn tail(&self, _tag: &str) -> String {
        self.parts().tail()
    }
}
