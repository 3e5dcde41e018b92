//! One conversation as its member sees it: `create`, `open`, and the `conv` response and event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::{UserCard, UserCards};
use crate::check::{Rejection, data, most, title};
use crate::codec::is_false;
use crate::cost::{CommandCost, changes, parts, queries};
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::limits;
use crate::payload::{CustomData, EncodedEvent};
use crate::role::{ConversationKind, HistoryVisibility, Role};
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Initial members per additional token: each is an event, a row of its own, and an introduction.
const MEMBERS: usize = 5;

/// Fields of the `create` command, which creates a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Create)]
pub struct CreateConversation {
    /// Kind of the conversation: `direct`, `group` or `channel`.
    pub kind: ConversationKind,
    /// Idempotency key, unique per user: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The other initial members, at most 256; for a direct conversation exactly one.
    #[serde(default)]
    #[schema(max_items = 256)]
    pub members: Vec<UserId>,
    /// Title, at most 256 bytes; direct conversations have none.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Custom data of the application, a JSON object of at most 4 KiB; direct conversations have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<CustomData>,
}

/// Fields of the `open` command, which returns a conversation and subscribes the session to it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Open)]
pub struct OpenConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The last `s` that the client has; without it no events are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<u64>,
}

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
    #[schema(required)]
    pub title: Option<String>,
    /// The user's role; null if the user is no member.
    #[schema(required)]
    pub role: Option<Role>,
    /// The last event of the log; live events continue at `last.s + 1`.
    pub last: LastEvent,
    /// Number of messages above the read cursor that the user may read.
    #[serde(default)]
    #[schema(required)]
    pub unread: u64,
    /// Number of unread messages that mention the user.
    #[serde(default)]
    #[schema(required)]
    pub mentions: u64,
    /// The user's read cursor.
    pub read: u64,
    /// The user's delivered cursor.
    pub delivered: u64,
    /// True if notifications are muted for this user.
    #[serde(default)]
    #[schema(required)]
    pub muted: bool,
    /// True if the user's clients show the conversation on top.
    #[serde(default)]
    #[schema(required)]
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
    /// Custom data of the conversation; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<CustomData>,
    /// Profiles of the peer and of the users in `events`, by their ids; in the response only. Left out are users without
    /// a profile, and those whose shard did not respond in time.
    #[serde(default, skip_serializing_if = "UserCards::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, UserCard>)]
    pub users: UserCards,
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

// === shapes ===

impl ShapeFields for CreateConversation {
    const EXAMPLE: &'static str =
        r#"{"kind":"group","cid":"7f3a2c","members":["ben","dan"],"title":"Flat hunting"}"#;
}

impl CommandFields for CreateConversation {
    type Response = ConversationSnapshot;

    fn check(&self) -> Result<(), Rejection> {
        most("members", self.members.len(), limits::MEMBERS_AT_CREATE)?;
        title(self.title.as_deref())?;
        data(self.data.as_ref())
    }

    fn cost(&self) -> CommandCost {
        changes(1 + parts(self.members.len(), MEMBERS))
    }
}

impl ShapeFields for OpenConversation {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","have":3}"#;
}

impl CommandFields for OpenConversation {
    type Response = ConversationSnapshot;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        queries(1 + u32::from(self.have.is_some()))
    }
}

impl ShapeFields for ConversationSnapshot {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","kind":"group","title":"Flat hunting","role":"owner","#,
        r#""last":{"s":4,"mn":1,"ts":1795912692652},"unread":0,"mentions":0,"read":4,"delivered":4,"#,
        r#""muted":false,"pinned":false,"history":"joined","members":3}"#,
    );
}

impl EventFields for ConversationSnapshot {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
