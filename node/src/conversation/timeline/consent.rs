//! Whether others may make a user a member: what is asked of the user's shard before they do.
//!
//! Blocks, the user's own setting and what was done in the last 24 hours are rows of the user's shard, and the shard of a
//! group knows none of them. So whoever is to be added is asked first, by a command ([`Op::MayAdd`]) that decides and
//! counts in one step, and only then is the change of the group proposed. Who asks is the node of the one who adds.
//!
//! [`Op::MayAdd`]: super::Op::MayAdd

use protocol::GroupInvite;
use serde::{Deserialize, Serialize};

use super::rows::Row;

/// How often others may make a user a member within 24 hours. 0: as often as they like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// Each of them.
    pub by_one: u32,
    /// All of them together.
    pub by_all: u32,
}

/// The answer to [`Op::MayAdd`](super::Op::MayAdd), as `s` of an [`Applied`](super::Applied).
pub mod verdict {
    /// The user may be added, and that is counted.
    pub const YES: u64 = 1;
    /// The user may not be added by this one.
    pub const NO: u64 = 2;
    /// Only by one who shares a conversation: ask again and name it.
    pub const SHARED: u64 = 3;
}

/// For how long a membership made by another counts, in milliseconds.
pub(super) const COUNTS_MS: u64 = 24 * 3600 * 1000;

/// A user's own wishes that concern others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct WishesRow {
    /// Who may make the user a member of groups and channels.
    pub(super) group_invite: GroupInvite,
}

/// Another may make the user a member, and perhaps has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct AddedRow {
    /// When, in milliseconds since the epoch.
    pub(super) at_ms: u64,
}

// === impl WishesRow, AddedRow ===

impl Row for WishesRow {}
impl Row for AddedRow {}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            by_one: 50,
            by_all: 500,
        }
    }
}
