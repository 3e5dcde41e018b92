//! Commands about other users.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, most};
use crate::ids::UserId;
use crate::limits;

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

// === impl Users ===

impl Users {
    pub(super) fn check(&self) -> Result<(), Reject> {
        most("users", self.users.len(), limits::WATCH_USERS)
    }
}
