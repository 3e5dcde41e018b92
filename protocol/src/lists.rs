//! Lists that only REST returns: the bans of a conversation and the users that a user blocks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// A page of the bans of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanList {
    /// The bans, in the order of the user ids.
    pub items: Vec<BanEntryRow>,
    /// Cursor of the next page; null after the last page.
    #[serde(default)]
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

/// A page of the users whom a user blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockList {
    /// The blocked users, in the order of their ids.
    pub items: Vec<UserId>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}
