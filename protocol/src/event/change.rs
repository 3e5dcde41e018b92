//! Durable events that change an earlier message or the conversation itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Event, is_false};
use crate::ids::{ConversationId, UserId};
use crate::payload::{Body, EncodedEvent};
use crate::role::HistoryVisibility;

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

/// Fields of the `meta` event; only the settings that changed are present.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Meta)]
pub struct MetadataEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Sequence number of this event in its conversation.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Time of the event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
    /// The user who changed the settings.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The new title; an empty one means that the title was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// History that a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryVisibility>,
}

/// Returns the tombstone of a deleted message, or of an edit of one, from its tail. `b` is empty, mentions are removed,
/// and `deleted` is true. The bytes before the body stay as they were.
pub fn tombstone(tail: &str) -> String {
    // Only the key can match: before the body stand ids and numbers, and a `cid` escapes its quotes.
    // A tail that is not valid JSON must lose its body too, so the head is found by text and not by parsing.
    let head = tail.split_once(",\"b\":").map_or(tail, |(head, _)| head);
    let event = EncodedEvent::from_tail(tail.as_bytes())
        .ok()
        .and_then(|event| event.event());
    let reply_to = match event {
        Some(Event::Msg(msg)) => msg.reply_to,
        _ => None,
    };
    let reply_to = reply_to.map_or_else(String::new, |s| format!(",\"reply_to\":{s}"));
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

#[cfg(test)]
mod tests {
    use super::*;

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
