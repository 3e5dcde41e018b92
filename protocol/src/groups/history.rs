//! Pages of a conversation's events: `hist`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Rejection, bad};
use crate::codec::is_false;
use crate::cost::{self, CommandCost};
use crate::ids::ConversationId;
use crate::payload::EncodedEvent;
use crate::shape::{CommandFields, ShapeFields};

/// Fields of the `hist` command, which returns a page of events. At most one of `before` and `after` is given; without
/// either, the newest page is returned.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Hist)]
pub struct GetHistory {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Returns the newest events below this `s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Returns the oldest events above this `s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Fields of the `hist` response: a page of a conversation's events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryResponse {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The events, in ascending order of `s`.
    pub events: Vec<EncodedEvent>,
    /// True if more events exist in the requested direction.
    pub more: bool,
    /// True if events behind `after` are missing: they expired, the user may not read them, or the log ends before
    /// `after`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gap: bool,
}

// === shapes ===

impl ShapeFields for GetHistory {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","before":50,"limit":20}"#;
}

impl CommandFields for GetHistory {
    type Response = HistoryResponse;

    fn check(&self) -> Result<(), Rejection> {
        if self.before.is_some() && self.after.is_some() {
            return Err(bad("only one of before and after may be given"));
        }
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        cost::page(self.limit)
    }
}

impl ShapeFields for HistoryResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","events":["#,
        r#"{"t":"msg","c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":4,"mn":1,"ts":1795912692652,"u":"ada","cid":"7f3a2c","#,
        r#""b":{"text":"Viewing at six?"}},"#,
        r#"{"t":"react","c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":5,"of":4,"u":"ben","ts":1795912692663,"k":"👍","on":true}"#,
        r#"],"more":false}"#,
    );
}
