//! Catch-up of many conversations: `sync`, the `delta` response and the `activity` event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conversation::LastEvent;
use crate::check::{self, Rejection, most};
use crate::cost::{CommandCost, parts, queries};
use crate::ids::ConversationId;
use crate::limits;
use crate::payload::EncodedEvent;
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Base cost of a page, which holds up to 1 MiB of many conversations.
const PAGE: u32 = 4;
/// Conversations in `have` per additional token.
const HAVE: usize = 25;

/// Fields of the `sync` command, which returns the missed events of many conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Sync)]
pub struct SyncRequest {
    /// Pairs of a conversation and the last `s` that the client has there, at most 200. Conversations that are absent
    /// are sent from the start of the membership.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub have: Vec<(ConversationId, u64)>,
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
}

/// Fields of the `delta` response: the missed events of a set of conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SyncResponse {
    /// Pairs of a conversation and the `s` up to which its items reach. Apply buffered live events above it afterwards.
    pub as_of: Vec<(ConversationId, u64)>,
    /// The missed events of each conversation.
    pub items: Vec<SyncResponseItem>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    #[schema(required)]
    pub next: Option<String>,
}

/// The missed events of one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SyncResponseItem {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The events, in ascending order of `s`, without a hole.
    pub events: Vec<EncodedEvent>,
    /// True if the events do not start at `have + 1`: they are the newest ones, and `hist` returns the others.
    #[serde(default)]
    #[schema(required)]
    pub gap: bool,
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

// === shapes ===

impl ShapeFields for SyncRequest {
    const EXAMPLE: &'static str = r#"{"have":[["g_01M8JBSWWP98W05E6QCDQ99WQX",3]]}"#;
}

impl CommandFields for SyncRequest {
    type Response = SyncResponse;

    fn check(&self) -> Result<(), Rejection> {
        most("have", self.have.len(), limits::SYNC_HAVE)?;
        check::cursor(self.cursor.as_deref())
    }

    fn cost(&self) -> CommandCost {
        queries(PAGE + parts(self.have.len(), HAVE))
    }
}

impl ShapeFields for SyncResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"as_of":[["g_01M8JBSWWP98W05E6QCDQ99WQX",5]],"items":[{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","events":["#,
        r#"{"t":"msg","c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":4,"mn":1,"ts":1795912692652,"u":"ada","cid":"7f3a2c","#,
        r#""b":{"text":"Viewing at six?"}},"#,
        r#"{"t":"react","c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":5,"of":4,"u":"ben","ts":1795912692663,"k":"👍","on":true}"#,
        r#"],"gap":false}],"next":null}"#,
    );
}

impl ShapeFields for ActivityEvent {
    const EXAMPLE: &'static str =
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","last":{"s":4,"mn":1,"ts":1795912692652}}"#;
}

impl EventFields for ActivityEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
