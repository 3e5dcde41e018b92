//! Durable events that change what is there: a message that was sent before, or the conversation itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Event, is_false};
use crate::body::{Body, RawEvent};
use crate::ids::{ConvId, UserId};
use crate::role::History;

/// `edit`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Edit)]
pub struct Edit {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The `s` of the message.
    pub of: u64,
    /// Who did it.
    pub u: UserId,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// The new body.
    pub b: Body,
    /// Users to alert from now on; without it those whom the message mentioned before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub mentions: Option<Vec<UserId>>,
    /// The message was deleted since; `b` is then empty and nobody is mentioned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

/// `del`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Del)]
pub struct Del {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The `s` of the message.
    pub of: u64,
    /// Who did it.
    pub u: UserId,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
}

/// `react`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::React)]
pub struct React {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The `s` of the message.
    pub of: u64,
    /// Whose reaction it is.
    pub u: UserId,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// The reaction.
    pub k: String,
    /// Whether it was set or taken back.
    pub on: bool,
    /// Who took it back, if not the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserId>,
}

/// `meta`: what is there has changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Meta)]
pub struct Meta {
    /// The conversation.
    pub c: ConvId,
    /// The place in the log.
    pub s: u64,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// Who did it.
    pub u: UserId,
    /// The title; an empty one means that there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How far back a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Returns what is left of a deleted message, or of an edit of one, from its tail: `b` is empty, nobody is mentioned, and
/// `deleted` says why. What stands before the body stays byte for byte.
pub fn tombstone(tail: &str) -> String {
    // Only the key can look like this: before the body there are ids and numbers, and a `cid` escapes its quotes.
    let head = tail.split_once(",\"b\":").map_or(tail, |(head, _)| head);
    let event = RawEvent::from_tail(tail.as_bytes())
        .ok()
        .and_then(|event| event.event());
    let reply_to = match event {
        Some(Event::Msg(msg)) => msg.reply_to,
        _ => None,
    };
    let reply_to = reply_to.map_or_else(String::new, |s| format!(",\"reply_to\":{s}"));
    format!("{head},\"b\":{{}}{reply_to},\"deleted\":true}}")
}

/// Returns the message that an `edit` is of, from its tail; `None` of every other event. No JSON is parsed: before the
/// words there are ids and numbers only.
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
        let event = RawEvent::from_tail(left.as_bytes()).unwrap().event().unwrap();
        assert!(matches!(&event, Event::Edit(edit) if edit.deleted && edit.b.as_str() == "{}"));
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
