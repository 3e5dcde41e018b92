//! The user's own settings: `me`, `block`, `unblock`, and the list of blocked users, which only REST returns.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::OkResponse;
use crate::check::Rejection;
use crate::cost::CommandCost;
use crate::ids::UserId;
use crate::role::GroupInvite;
use crate::shape::{CommandFields, ShapeFields};

/// Fields of the `me` command, which changes the user's settings. Without fields it only returns them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Me)]
pub struct UpdateProfile {
    /// New setting for the users who may add this user to groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_invite: Option<GroupInvite>,
}

/// Fields of the `me` response: the settings of the user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MeResponse {
    /// The user who sent the command.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Setting for the users who may add this user to groups and channels.
    pub group_invite: GroupInvite,
}

/// Fields of the `block` and `unblock` commands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Block)]
pub struct BlockUser {
    /// The user who is blocked or unblocked.
    #[serde(rename = "who")]
    pub user: UserId,
}

/// A page of the users whom a user blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockList {
    /// The blocked users, in the order of their ids.
    pub items: Vec<UserId>,
    /// The cursor of the next page, null after the last.
    #[serde(default)]
    #[schema(required)]
    pub next: Option<String>,
}

// === shapes ===

impl ShapeFields for UpdateProfile {
    const EXAMPLE: &'static str = r#"{"group_invite":"shares_conversation"}"#;
}

impl CommandFields for UpdateProfile {
    type Response = MeResponse;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for MeResponse {
    const EXAMPLE: &'static str = r#"{"u":"ada","group_invite":"anyone"}"#;
}

impl ShapeFields for BlockUser {
    const EXAMPLE: &'static str = r#"{"who":"eve"}"#;
}

impl CommandFields for BlockUser {
    type Response = OkResponse;

    fn check(&self) -> Result<(), Rejection> {
        Ok(())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}
