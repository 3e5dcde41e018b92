//! Lists of a conversation's users: `members`, and the bans, which only REST returns.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::{UserCard, UserCards};
use crate::check::{self, Rejection};
use crate::cost::{self, CommandCost};
use crate::ids::{ConversationId, UserId};
use crate::payload::CustomData;
use crate::role::Role;
use crate::shape::{CommandFields, ShapeFields};

/// Fields of the `members` command, which lists the members of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Members)]
pub struct ListMembers {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Fields of the `members` response: a page of a conversation's members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MembersResponse {
    /// The members, in the order of their ids.
    pub items: Vec<ConversationMember>,
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

/// One member of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationMember {
    /// The user who is a member.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Role of the member in the conversation.
    pub role: Role,
    /// The member's delivered cursor; absent in conversations of more than 256 members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// The member's read cursor; absent in conversations of more than 256 members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Custom data of the member; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<CustomData>,
}

/// A page of the bans of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanList {
    /// The bans, in the order of the user ids.
    pub items: Vec<BanEntryRow>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
    #[schema(required)]
    pub next: Option<String>,
}

/// A ban of a user from a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanEntryRow {
    /// The user who is banned.
    #[serde(rename = "u")]
    pub user: UserId,
    /// The member who banned the user.
    #[serde(rename = "by")]
    pub banned_by: UserId,
    /// Time of the ban, in milliseconds since the Unix epoch.
    #[serde(rename = "ts")]
    pub timestamp_ms: u64,
}

// === shapes ===

impl ShapeFields for ListMembers {
    const EXAMPLE: &'static str = r#"{"c":"g_01M8JBSWWP98W05E6QCDQ99WQX","limit":20}"#;
}

impl CommandFields for ListMembers {
    type Response = MembersResponse;

    fn check(&self) -> Result<(), Rejection> {
        check::cursor(self.cursor.as_deref())
    }

    fn cost(&self) -> CommandCost {
        cost::page(self.limit)
    }
}

impl ShapeFields for MembersResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"items":[{"u":"ada","role":"owner","delivered":4,"read":4},"#,
        r#"{"u":"ben","role":"member","delivered":4,"read":3}],"next":null}"#,
    );
}
