//! Server events: each is encoded once, as a *tail* that all receivers share.
//!
//! A session's frame is `{"n":413,` followed by the tail, `"t":"msg",…}`. The stored bytes are the tail too, so live
//! events, history and sync are identical by construction.
//!
//! The state machine of `node` encodes each event; the fan-out passes the tail on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::{FrameHead, shapes, splice};
use crate::conversation::ConversationSnapshot;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::payload::{Body, EncodedEvent};
use crate::role::{MembershipChange, Role};

mod change;

mod ephemeral;

pub use change::{DeleteEvent, EditEvent, MetadataEvent, ReactionEvent, edited, tombstone};
pub use ephemeral::{
    ActivityEvent, CloseEvent, PresenceEvent, PresenceState, ReceiptEvent, ResyncEvent, TypingEvent,
};

shapes! {
    /// Every event that the server pushes to a session.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Event {
        /// A message was sent to a conversation.
        Msg(MessageEvent) = "msg",
        /// The body of a message was replaced.
        Edit(EditEvent) = "edit",
        /// A message was deleted for all members.
        Del(DeleteEvent) = "del",
        /// A reaction to a message was set or removed.
        React(ReactionEvent) = "react",
        /// The title or the history setting of a conversation changed.
        Meta(MetadataEvent) = "meta",
        /// The membership of a user changed.
        Member(MemberEvent) = "member",
        /// A conversation is new to the session, or another device of the user changed mute or pin.
        Conv(ConversationSnapshot) = "conv",
        /// A message was sent in a conversation whose events this session did not receive live.
        Activity(ActivityEvent) = "activity",
        /// The cursors of a member moved.
        Receipt(ReceiptEvent) = "receipt",
        /// A member is typing or has stopped.
        Typing(TypingEvent) = "typing",
        /// A watched user came online or went offline.
        Presence(PresenceEvent) = "presence",
        /// Events were dropped, and the client must run `sync`.
        Resync(ResyncEvent) = "resync",
        /// The server is about to close the connection.
        Bye(CloseEvent) = "bye",
    }
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

/// Fields of the `member` event: a membership changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Member)]
pub struct MemberEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of the event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The user who made the change.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The user whose membership changed.
    #[serde(rename = "who")]
    pub member: UserId,
    /// The new role; null if the user is no longer a member.
    #[serde(default)]
    pub role: Option<Role>,
    /// Kind of the membership change.
    #[serde(rename = "why")]
    pub change: MembershipChange,
}

// === impl Event ===

impl Event {
    /// Returns the tail: the encoded event without `{"n":413,`.
    pub fn tail(&self) -> String {
        match self {
            // Hand-written encoders for the two frequent events; `tests/golden.rs` freezes their bytes.
            Event::Msg(msg) => msg.parts().tail(),
            Event::Member(member) => member.tail(),
            _ => splice(self.tag(), None, &self.fields()).split_off(1),
        }
    }

    /// Returns the conversation of a durable event, its `s` there, and its time in milliseconds; `None` for an
    /// ephemeral event.
    pub fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        match self {
            Event::Msg(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            Event::Edit(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            Event::Del(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            Event::React(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            Event::Meta(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            Event::Member(e) => Some((&e.conversation, e.seq, e.timestamp_ms)),
            // No wildcard: a new event must decide here whether it is durable.
            Event::Conv(_)
            | Event::Activity(_)
            | Event::Receipt(_)
            | Event::Typing(_)
            | Event::Presence(_)
            | Event::Resync(_)
            | Event::Bye(_) => None,
        }
    }

    /// Decodes an event with or without its session number; `None` for a shape of a later version.
    pub fn decode(text: &str) -> Option<Event> {
        let head = FrameHead::read(text).ok()?;
        Event::decode_as(head.t.as_deref()?, text)?.ok()
    }

    /// Decodes the shape named `tag`; `None` if no event has that name.
    pub(crate) fn decode_as(tag: &str, text: &str) -> Option<Result<Event, serde_json::Error>> {
        Event::read(tag, text)
    }
}

// === impl EncodedEvent ===

impl EncodedEvent {
    /// Returns the frame of this event with a session's event number.
    pub fn frame(&self, n: u64) -> String {
        event_frame(n, self.tail())
    }

    /// Returns the decoded event; `None` for an event of a later version.
    pub fn event(&self) -> Option<Event> {
        Event::decode(self.as_str())
    }
}

/// Returns the frame of an event: a session's event number, then the shared tail.
pub fn event_frame(n: u64, tail: &str) -> String {
    // 26 bytes hold the longest number and the punctuation: one allocation per frame and session.
    let mut frame = String::with_capacity(tail.len() + 26);
    frame.push_str("{\"n\":");
    push_u64(&mut frame, n);
    frame.push(',');
    frame.push_str(tail);
    frame
}

// === impl MessageEvent, MessageParts, MemberEvent ===

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

impl MemberEvent {
    /// Returns the tail: the encoded event without `{"n":413,`.
    pub fn tail(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("\"t\":\"member\",\"c\":\"");
        out.push_str(self.conversation.as_str());
        out.push_str("\",\"s\":");
        push_u64(&mut out, self.seq);
        out.push_str(",\"ts\":");
        push_u64(&mut out, self.timestamp_ms);
        out.push_str(",\"u\":\"");
        out.push_str(self.user.as_str());
        out.push_str("\",\"who\":\"");
        out.push_str(self.member.as_str());
        match self.role {
            Some(role) => {
                out.push_str("\",\"role\":\"");
                out.push_str(role.as_str());
                out.push_str("\",\"why\":\"");
            }
            None => out.push_str("\",\"role\":null,\"why\":\""),
        }
        out.push_str(self.change.as_str());
        out.push_str("\"}");
        out
    }
}

/// Appends a number in decimal digits.
fn push_u64(out: &mut String, mut value: u64) {
    // 20 digits hold every u64; `to_string` would allocate for each number of each event.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    for digit in &digits[at..] {
        out.push(char::from(*digit));
    }
}

/// Appends a JSON string with the same escapes as `serde_json`.
fn push_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a string always serialises"));
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
