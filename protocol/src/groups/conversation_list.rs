//! The user's conversations: `list` and the `inbox` response.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conversation::DirectPeer;
use super::users::{UserCard, UserCards};
use crate::check::{self, Rejection};
use crate::codec::is_false;
use crate::cost::{self, CommandCost};
use crate::ids::ConversationId;
use crate::limits;
use crate::payload::EncodedEvent;
use crate::role::{ConversationKind, Role};
use crate::shape::{CommandFields, ShapeFields};

/// Fields of the `list` command, which returns a page of the user's conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::List)]
pub struct ListConversations {
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only conversations whose custom data has this text as its `kind`, and those whose owner did not respond; at most
    /// 64 bytes. All if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub data_kind: Option<String>,
}

/// Fields of the `inbox` response: a page of the user's conversations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationList {
    /// The conversations, the latest activity first.
    pub items: Vec<ConversationListItem>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    #[schema(required)]
    pub next: Option<String>,
    /// Profiles of the users that the response names, by their ids. Left out are users without a profile, and those whose
    /// shard did not respond in time.
    #[serde(default, skip_serializing_if = "UserCards::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, UserCard>)]
    pub users: UserCards,
}

/// One conversation of the user's list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationListItem {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Kind of the conversation.
    pub kind: ConversationKind,
    /// Title of the conversation; null if it has none.
    #[serde(default)]
    #[schema(required)]
    pub title: Option<String>,
    /// The user's role; null if the row is stale.
    #[serde(default)]
    #[schema(required)]
    pub role: Option<Role>,
    /// The last message in its current state; null if there is none, the user may not read it, or the row is stale.
    #[serde(default)]
    #[schema(required)]
    pub last: Option<EncodedEvent>,
    /// Number of messages above the read cursor that the user may read.
    #[serde(default)]
    #[schema(required)]
    pub unread: u64,
    /// Number of unread messages that mention the user.
    #[serde(default)]
    #[schema(required)]
    pub mentions: u64,
    /// The user's read cursor.
    #[serde(default)]
    #[schema(required)]
    pub read: u64,
    /// The user's delivered cursor.
    #[serde(default)]
    #[schema(required)]
    pub delivered: u64,
    /// True if notifications are muted for this user.
    #[serde(default)]
    #[schema(required)]
    pub muted: bool,
    /// True if the user's clients show the conversation on top.
    #[serde(default)]
    #[schema(required)]
    pub pinned: bool,
    /// The other user of a direct conversation; absent in groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<DirectPeer>,
    /// True if the owner of the conversation did not respond in time: only `c` and `kind` are valid. Request the page
    /// again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stale: bool,
}

// === shapes ===

impl ShapeFields for ListConversations {
    const EXAMPLE: &'static str = r#"{"limit":20}"#;
}

impl CommandFields for ListConversations {
    type Response = ConversationList;

    fn check(&self) -> Result<(), Rejection> {
        check::cursor(self.cursor.as_deref())?;
        check::longest("data_kind", self.data_kind.as_deref(), limits::DATA_KIND_BYTES)
    }

    fn cost(&self) -> CommandCost {
        cost::page(self.limit)
    }
}

impl ShapeFields for ConversationList {
    const EXAMPLE: &'static str = concat!(
        r#"{"items":[{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","kind":"group","title":"Flat hunting","role":"owner","#,
        r#""last":{"t":"msg","c":"g_01M8JBSWWP98W05E6QCDQ99WQX","s":4,"mn":1,"ts":1795912692652,"u":"ada","#,
        r#""cid":"7f3a2c","b":{"text":"Viewing at six?"}},"unread":0,"mentions":0,"read":4,"delivered":4,"#,
        r#""muted":false,"pinned":false}],"next":null,"users":{"ada":{"name":"Ada Byron","ver":2}}}"#,
    );
}
