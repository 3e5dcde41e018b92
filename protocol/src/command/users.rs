//! Commands about other users.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, most};
use crate::ids::UserId;
use crate::limits;
use crate::role::GroupInvite;

/// `watch` and `unwatch`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Users)]
pub struct Users {
    /// Whose presence.
    #[schema(max_items = 500)]
    pub users: Vec<UserId>,
}

/// `block` and `unblock`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Block)]
pub struct Block {
    /// The user concerned.
    pub who: UserId,
}

/// `me`: without fields it only asks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Me)]
pub struct Me {
    /// Who may make the user a member of groups and channels from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_invite: Option<GroupInvite>,
}

// === impl Users ===

impl Users {
    pub(super) fn check(&self) -> Result<(), Reject> {
        most("users", self.users.len(), limits::WATCH_USERS)
    }
}
