//! Lists that only REST has: who is kept out of a conversation, and whom a user blocks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;

/// A page of those who are banned from a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Bans {
    /// The bans, in the order of the users' ids.
    pub items: Vec<Ban>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// A ban.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// Who is kept out.
    pub u: UserId,
    /// Who said so.
    pub by: UserId,
    /// When, in milliseconds since the epoch.
    pub ts: u64,
}

/// A page of those whom a user blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Blocks {
    /// The users, in the order of their ids.
    pub items: Vec<UserId>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    pub next: Option<String>,
}
