//! Commands about other users and about the user's own settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, most};
use crate::ids::UserId;
use crate::limits;
use crate::role::GroupInvite;

/// Fields of the `watch` and `unwatch` commands, which start and end presence subscriptions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Users)]
pub struct WatchUsers {
    /// Users whose presence the session receives, at most 500 per command.
    #[schema(max_items = 500)]
    pub users: Vec<UserId>,
}

/// Fields of the `block` and `unblock` commands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Block)]
pub struct BlockUser {
    /// The user who is blocked or unblocked.
    #[serde(rename = "who")]
    pub user: UserId,
}

/// Fields of the `me` command, which changes the user's settings. Without fields it only returns them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Me)]
pub struct UpdateProfile {
    /// New setting for the users who may add this user to groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_invite: Option<GroupInvite>,
}

// === impl WatchUsers ===

impl WatchUsers {
    pub(super) fn check(&self) -> Result<(), Reject> {
        most("users", self.users.len(), limits::WATCH_USERS)
    }
}
