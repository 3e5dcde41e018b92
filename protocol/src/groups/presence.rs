//! Soft state of users: `watch`, `unwatch` and the `presence` event, `typing` and its event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::OkResponse;
use crate::check::{Rejection, most};
use crate::cost::{CommandCost, parts, queries};
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::shape::{CommandFields, EventFields, NoResponse, ShapeFields};

/// Users of `watch` per additional token.
const WATCHED: usize = 50;

/// Fields of the `watch` and `unwatch` commands, which start and end presence subscriptions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Users)]
pub struct WatchUsers {
    /// Users whose presence the session receives, at most 500 per command.
    #[schema(max_items = 500)]
    pub users: Vec<UserId>,
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
    #[schema(required)]
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

/// Fields of the `typing` command, which has no response.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Typing)]
pub struct SetTyping {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// True while the user types, false when the user has stopped.
    #[serde(rename = "on")]
    pub active: bool,
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

// === shapes ===

impl ShapeFields for WatchUsers {
    const EXAMPLE: &'static str = r#"{"users":["ben","dan"]}"#;
}

impl CommandFields for WatchUsers {
    type Response = OkResponse;

    fn check(&self) -> Result<(), Rejection> {
        most("users", self.users.len(), limits::WATCH_USERS)
    }

    fn cost(&self) -> CommandCost {
        queries(1 + parts(self.users.len(), WATCHED))
    }
}

impl ShapeFields for PresenceEvent {
    const EXAMPLE: &'static str = r#"{"u":"ben","state":"offline","seen":1795912692652}"#;
}

impl EventFields for PresenceEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}

impl ShapeFields for SetTyping {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","on":true}"#;
}

impl CommandFields for SetTyping {
    type Response = NoResponse;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::FREE
    }
}

impl ShapeFields for TypingEvent {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","u":"ben","on":true}"#;
}

impl EventFields for TypingEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
