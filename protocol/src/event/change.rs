//! Durable events that change what is there: a message that was sent before, or the conversation itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::is_false;
use crate::body::Body;
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
    /// The message was deleted since; `b` is then empty.
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
    /// Who did it.
    pub u: UserId,
    /// The time, in milliseconds since the epoch.
    pub ts: u64,
    /// The reaction.
    pub k: String,
    /// Whether it was set or taken back.
    pub on: bool,
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
