//! Ephemeral events: not part of any log, lost with the session, and sent again when they matter.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::close::CloseCode;
use crate::conversation::LastEvent;
use crate::ids::{ConversationId, UserId};

/// Fields of the `receipt` event: the cursors of a member moved. The cursors are durable, the event is not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Receipt)]
pub struct ReceiptEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The member whose cursors moved.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The member's delivered cursor: the highest `s` that arrived there.
    pub delivered: u64,
    /// The member's read cursor: the highest `s` that was read there.
    pub read: u64,
}

/// Fields of the `activity` event. This session did not receive the events up to `last` live; later events may arrive
/// live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Activity)]
pub struct ActivityEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Last event of the conversation's log.
    pub last: LastEvent,
}

/// Fields of the `resync` event: events were dropped, and the client must run `sync`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Resync)]
pub struct ResyncEvent {
    /// The reason for the loss, for support.
    #[serde(rename = "why")]
    pub reason: String,
}

/// Fields of the `bye` event, which announces a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Bye)]
pub struct CloseEvent {
    /// The WebSocket close code that follows.
    pub code: u16,
    /// Time to wait before the next connection, in milliseconds.
    pub retry_ms: u64,
}

/// Fields of the `typing` event. The client drops the state after 6 seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Typing)]
pub struct TypingEvent {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The member who is typing.
    #[serde(rename = "u")]
    pub user: UserId,
    /// True while the user types, false when the user has stopped.
    #[serde(rename = "on")]
    pub active: bool,
}

/// Fields of the `presence` event: a watched user came online or went offline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Presence)]
pub struct PresenceEvent {
    /// The user whose presence is reported.
    #[serde(rename = "u")]
    pub user: UserId,
    /// State of the user: `online` or `offline`.
    pub state: PresenceState,
    /// Time at which the user was last seen, in milliseconds since the Unix epoch; null if never.
    #[serde(rename = "seen", default)]
    pub last_seen_ms: Option<u64>,
}

/// Presence state of a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::PresenceState)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// At least one device of the user is connected.
    Online,
    /// No device of the user is connected, and none was during the grace period.
    Offline,
}

// === impl CloseEvent ===

impl CloseEvent {
    /// Returns the event that announces a close.
    pub fn new(code: CloseCode, retry_ms: u64) -> CloseEvent {
        CloseEvent {
            code: code.code(),
            retry_ms,
        }
    }
}
