//! A conversation as its member sees it: content of the `conv` response and of the `conv` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ConversationId, UserId};
use crate::payload::EncodedEvent;
use crate::role::{ConversationKind, HistoryVisibility, Role};

/// Fields of `conv`, which is both a response and an event: a conversation as its member sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationSnapshot {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Kind of the conversation.
    pub kind: ConversationKind,
    /// Title of the conversation; null if it has none.
    #[serde(default)]
    pub title: Option<String>,
    /// The user's role; null if the user is no member.
    pub role: Option<Role>,
    /// The last event of the log; live events continue at `last.s + 1`.
    pub last: LastEvent,
    /// The user's read cursor.
    pub read: u64,
    /// The user's delivered cursor.
    pub delivered: u64,
    /// True if notifications are muted for this user.
    #[serde(default)]
    pub muted: bool,
    /// True if the user's clients show the conversation on top.
    #[serde(default)]
    pub pinned: bool,
    /// History that a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryVisibility>,
    /// Number of members of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// The other user of a direct conversation; absent in groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<DirectPeer>,
    /// The events after `have`; absent if `open` was sent without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EncodedEvent>>,
    /// True if `events` does not start at `have + 1`, because more events were missed than it holds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

/// The end of a conversation's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct LastEvent {
    /// Sequence number of the last event.
    #[serde(rename = "s")]
    pub seq: u64,
    /// Ordinal of the last message.
    #[serde(rename = "mn")]
    pub message_number: u64,
    /// Time of the last event, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
}

/// The other user of a direct conversation and that user's cursors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DirectPeer {
    /// The other user of the direct conversation.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The other user's delivered cursor.
    pub delivered: u64,
    /// The other user's read cursor.
    pub read: u64,
}

fn is_false(value: &bool) -> bool {
    !*value
}
