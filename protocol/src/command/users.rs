//! Commands about other users.

use serde::{Deserialize, Serialize};

use super::{Reject, most};
use crate::ids::UserId;
use crate::limits;

/// `watch` and `unwatch`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Users {
    /// Whose presence.
    pub users: Vec<UserId>,
}

/// `block` and `unblock`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
