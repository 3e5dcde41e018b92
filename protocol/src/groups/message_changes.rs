//! Changes of earlier messages: `edit`, `del` and their events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::Ack;
use super::messages::{MessageEvent, message_cost};
use crate::check::{self, Rejection, most};
use crate::codec::is_false;
use crate::cost::CommandCost;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::limits;
use crate::payload::Body;
use crate::shape::{CommandFields, EventFields, ShapeFields};

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

/// Fields of the `edit` event: the body of a message was replaced.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Edit)]
pub struct EditEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of this event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// The `s` of the edited message.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// The user who edited the message.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The new body, a JSON object.
    #[serde(rename = "b")]
    pub body: Body,
    /// Users to notify from now on, at most 50; if absent, the mentions of the message stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub mentions: Option<Vec<UserId>>,
    /// True if the message was deleted since; `b` is then empty and `mentions` absent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
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

/// Fields of the `del` event: a message was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Del)]
pub struct DeleteEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of this event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// The `s` of the deleted message.
    #[serde(rename = "of")]
    pub target_seq: u64,
    /// The user who deleted the message.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
}

/// Returns the tombstone of a deleted message, or of an edit of one, from its tail. `b` is empty, mentions are removed,
/// and `deleted` is true. The bytes before the body stay as they were.
pub fn tombstone(tail: &str) -> String {
    // Only the key can match: before the body stand ids and numbers, and a `cid` escapes its quotes.
    // A tail that is not valid JSON must lose its body too, so the head is found by text and not by parsing.
    let head = tail.split_once(",\"b\":").map_or(tail, |(head, _)| head);
    let reply_to = if tail.starts_with("\"t\":\"msg\",") {
        let msg = MessageEvent::read(&format!("{{{tail}")).ok();
        msg.and_then(|msg| msg.reply_to)
    } else {
        None
    };
    let reply_to = reply_to.map_or_else(String::new, |seq| format!(",\"reply_to\":{seq}"));
    format!("{head},\"b\":{{}}{reply_to},\"deleted\":true}}")
}

/// Returns the `s` of the message that an `edit` changes, from the event's tail; `None` for any other event. Parses no
/// JSON: only ids and numbers stand before the body.
pub fn edited(tail: &str) -> Option<u64> {
    let head = tail.strip_prefix("\"t\":\"edit\",")?;
    let (_, of) = head.split_once(",\"of\":")?;
    let end = of.find(|c: char| !c.is_ascii_digit())?;
    of[..end].parse().ok()
}

// === shapes ===

impl ShapeFields for EditMessage {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","of":4,"cid":"7f3a2d","b":{"text":"Viewing at seven?"}}"#;
}

impl CommandFields for EditMessage {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        check::body(&self.body)?;
        most("mentions", self.mention_count(), limits::MENTIONS)
    }

    fn cost(&self) -> CommandCost {
        message_cost(&self.body, self.mention_count())
    }
}

impl EditMessage {
    fn mention_count(&self) -> usize {
        self.mentions.as_ref().map_or(0, Vec::len)
    }
}

impl ShapeFields for EditEvent {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":5,"of":4,"u":"ada","ts":1795912692663,"#,
        r#""b":{"text":"Viewing at seven?"}}"#,
    );
}

impl EventFields for EditEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }
}

impl ShapeFields for DeleteMessage {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","of":4,"cid":"7f3a2d"}"#;
}

impl CommandFields for DeleteMessage {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for DeleteEvent {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":5,"of":4,"u":"ada","ts":1795912692663}"#;
}

impl EventFields for DeleteEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::payload::EncodedEvent;

    #[test]
    fn of_a_deleted_message_everything_but_the_words_is_left() {
        let msg = r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"al","cid":",\"b\":x","b":{"b":{},"text":"hi"},"reply_to":3,"mentions":["bo"]}"#;
        assert_eq!(
            tombstone(msg),
            r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"al","cid":",\"b\":x","b":{},"reply_to":3,"deleted":true}"#
        );
        let edit = r#""t":"edit","c":"g_1","s":8,"of":7,"u":"al","ts":9,"b":{"text":"ho"}}"#;
        let left = tombstone(edit);
        assert_eq!(
            left,
            r#""t":"edit","c":"g_1","s":8,"of":7,"u":"al","ts":9,"b":{},"deleted":true}"#
        );
        assert_eq!(tombstone(&left), left, "once is enough");
        let event = EncodedEvent::from_tail(left.as_bytes()).unwrap().event().unwrap();
        assert!(matches!(&event, Event::Edit(edit) if edit.deleted && edit.body.as_str() == "{}"));
        assert_eq!(event.tail(), left, "as it would be written");
    }

    #[test]
    fn what_is_edited_is_read_from_the_head() {
        let edit = r#""t":"edit","c":"g_1","s":8,"of":7,"u":"al","ts":9,"b":{"of":3}}"#;
        assert_eq!(edited(edit), Some(7));
        assert_eq!(edited(&tombstone(edit)), Some(7));
        let other = r#""t":"del","c":"g_1","s":8,"of":7,"u":"al","ts":9}"#;
        assert_eq!((edited(other), edited("")), (None, None));
    }

    #[test]
    fn a_body_that_is_no_json_leaves_nothing_behind() {
        let broken = r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"al","cid":"k","b":{"text":"hi}"#;
        assert_eq!(
            tombstone(broken),
            r#""t":"msg","c":"g_1","s":7,"mn":5,"ts":9,"u":"al","cid":"k","b":{},"deleted":true}"#
        );
    }
}
