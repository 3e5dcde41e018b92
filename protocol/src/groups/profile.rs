//! The user's own profile and settings: `me`, `block`, `unblock`, and the list of blocked users, which only REST returns.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::common_responses::OkResponse;
use crate::check::{self, Rejection};
use crate::cost::CommandCost;
use crate::ids::UserId;
use crate::patch::FieldPatch;
use crate::payload::CustomData;
use crate::role::GroupInvite;
use crate::shape::{CommandFields, ShapeFields};

/// Fields of the `me` command, a merge patch of the user's profile and settings: null removes, and what is absent stays.
/// Without fields it only returns them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Me)]
pub struct UpdateProfile {
    /// New setting for the users who may add this user to groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_invite: Option<GroupInvite>,
    /// Displayed name, at most 256 bytes with a visible character.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub name: FieldPatch<String>,
    /// URL of the user's picture, at most 1,024 bytes: `http`, `https`, or relative to the application.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub avatar: FieldPatch<String>,
    /// Custom data of the application, a JSON object of at most 4 KiB.
    #[serde(default, skip_serializing_if = "FieldPatch::is_keep")]
    #[schema(value_type = Option<CustomData>)]
    pub data: FieldPatch<CustomData>,
}

/// Fields of the `me` response: the profile and the settings of the user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MeResponse {
    /// The user who sent the command.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Setting for the users who may add this user to groups and channels.
    pub group_invite: GroupInvite,
    /// Displayed name; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the user's picture; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Custom data of the application; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<CustomData>,
    /// Version of the profile, greater after each change; absent without a profile.
    #[serde(default, rename = "ver", skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
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

// === impl UpdateProfile ===

impl UpdateProfile {
    /// Returns whether the command changes the profile, and not only a setting.
    pub fn has_profile(&self) -> bool {
        !(self.name.is_keep() && self.avatar.is_keep() && self.data.is_keep())
    }
}

// === shapes ===

impl ShapeFields for UpdateProfile {
    const EXAMPLE: &'static str =
        r#"{"group_invite":"shares_conversation","name":"Ada Byron","avatar":null}"#;
}

impl CommandFields for UpdateProfile {
    type Response = MeResponse;

    fn check(&self) -> Result<(), Rejection> {
        check::name(self.name.new_value().map(String::as_str))?;
        check::avatar(self.avatar.new_value().map(String::as_str))?;
        check::data(self.data.new_value())
    }

    fn cost(&self) -> CommandCost {
        CommandCost::CHANGE
    }
}

impl ShapeFields for MeResponse {
    const EXAMPLE: &'static str = r#"{"u":"ada","group_invite":"anyone","name":"Ada Byron","ver":2}"#;
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
