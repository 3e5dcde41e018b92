//! Consent to being added to groups and channels: the query to the user's shard that precedes an addition.
//!
//! Blocks, the user's own setting and the additions of the last 24 hours are rows of the user's shard, which the shard
//! of a group cannot read. The node of the adding user therefore first proposes `UserOp::MayAdd` to the user's
//! shard, which decides and counts in one step. Only then does it propose the change of the group.
//!
//! `UserOp::MayAdd`: super::UserOp::MayAdd

use protocol::GroupInvite;
use serde::{Deserialize, Serialize};

use super::rows::VersionedRow;

/// Limits on additions of one user by others within 24 hours; 0 means unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdditionLimits {
    /// Additions by the same user.
    pub by_one: u32,
    /// Additions by all users together.
    pub by_all: u32,
}

/// Decision on a `UserOp::MayAdd`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AdditionVerdict {
    /// The user may be added; the addition is counted.
    Allowed,
    /// The user may not be added by the asking user.
    Declined,
    /// Only a user with a shared group may add: the request is repeated with its id.
    SharedOnly,
}

/// Time for which an addition counts against the limits, in milliseconds.
pub(super) const COUNTS_MS: u64 = 24 * 3600 * 1000;

/// Own settings of a user that concern others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct WishesRow {
    pub(super) group_invite: GroupInvite,
}

/// Addition that was permitted and counted; the membership change may still have failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct AddedRow {
    /// Milliseconds since the epoch.
    pub(super) at_ms: u64,
}

// === impl WishesRow, AddedRow ===

impl VersionedRow for WishesRow {}
impl VersionedRow for AddedRow {}
