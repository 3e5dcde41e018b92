//! Messages as they are now: the log folded, for clients that show a conversation without keeping its events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::Body;
use crate::event::Msg;
use crate::ids::{Cid, ConvId, UserId};

/// A page of messages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Messages {
    /// The conversation.
    pub c: ConvId,
    /// Messages in ascending order.
    pub items: Vec<Message>,
    /// Whether there are more in the direction asked for.
    pub more: bool,
    /// The messages don't begin behind `after`: what was there is gone, or is not for this member, or the log ends before
    /// it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// A message, with all that has become of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// The place in the log.
    pub s: u64,
    /// The message's ordinal.
    pub mn: u64,
    /// When it was sent, in milliseconds since the epoch.
    pub ts: u64,
    /// The sender.
    pub u: UserId,
    /// The sender's idempotency key.
    pub cid: Cid,
    /// The current body; empty if the message was deleted.
    pub b: Body,
    /// When it was last edited, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_ts: Option<u64>,
    /// How many users have set which reaction.
    #[serde(default)]
    pub reactions: BTreeMap<String, u64>,
    /// The message was deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// The `s` of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Users to alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub mentions: Vec<UserId>,
}

// === impl Message ===

impl From<Msg> for Message {
    /// Returns the message as it was sent, or, if it was deleted since, what is left of it.
    fn from(msg: Msg) -> Message {
        Message {
            s: msg.s,
            mn: msg.mn,
            ts: msg.ts,
            u: msg.u,
            cid: msg.cid,
            b: msg.b,
            edited_ts: None,
            reactions: BTreeMap::new(),
            deleted: msg.deleted,
            reply_to: msg.reply_to,
            mentions: msg.mentions,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
