//! Settings of a conversation: `set` and the `meta` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::Ack;
use crate::check::{Rejection, bad, data, title};
use crate::cost::CommandCost;
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::patch::FieldPatch;
use crate::payload::CustomData;
use crate::role::HistoryVisibility;
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Fields of the `set` command; at least one setting must be given. `title`, `history` and `data` apply to all members and
/// produce an event. `muted` and `pinned` apply to the user only and produce none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Set)]
pub struct UpdateConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// New title, at most 256 bytes; an empty one removes the title.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// History that a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryVisibility>,
    /// New custom data of the conversation, a JSON object of at most 4 KiB; null removes it.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<CustomData>)]
    pub data: FieldPatch<CustomData>,
    /// True if notifications are muted for this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// True if this user's clients show the conversation on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
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
    /// The new custom data; null means that it was removed.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<CustomData>)]
    pub data: FieldPatch<CustomData>,
}

// === impl UpdateConversation ===

impl UpdateConversation {
    /// Returns whether the command changes a setting of all members, and not only of the user.
    pub fn is_shared(&self) -> bool {
        self.title.is_some() || self.history.is_some() || !self.data.is_keep()
    }
}

// === shapes ===

impl ShapeFields for UpdateConversation {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","cid":"7f3a2d","title":"Flat found","history":"all"}"#;
}

impl CommandFields for UpdateConversation {
    type Response = Ack;

    fn check(&self) -> Result<(), Rejection> {
        if !self.is_shared() && self.muted.is_none() && self.pinned.is_none() {
            return Err(bad(
                "at least one of title, history, data, muted and pinned must be given",
            ));
        }
        title(self.title.as_deref())?;
        data(self.data.new_value())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for MetadataEvent {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":6,"ts":1795912692671,"u":"ada","title":"Flat found","#,
        r#""history":"all"}"#,
    );
}

impl EventFields for MetadataEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        Some((&self.conversation, self.seq, self.timestamp_ms))
    }
}
