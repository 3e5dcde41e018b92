//! Cursors of a member: `read`, `recv` and the `receipt` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::OkResponse;
use crate::check::Rejection;
use crate::cost::CommandCost;
use crate::ids::{ConversationId, UserId};
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Fields of the `read` and `recv` commands, which move a cursor of the user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Cursor)]
pub struct MoveCursor {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// New cursor position: up to and including this `s`. A value beyond the last event is reduced to it.
    #[serde(rename = "s")]
    pub seq: u64,
}

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

// === shapes ===

impl ShapeFields for MoveCursor {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":4}"#;
}

impl CommandFields for MoveCursor {
    type Response = OkResponse;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for ReceiptEvent {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","u":"ben","delivered":4,"read":3}"#;
}

impl EventFields for ReceiptEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
