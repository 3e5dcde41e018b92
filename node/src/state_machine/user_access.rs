//! Access of a user: a row in the user's shard, written by back ends only.

use serde::{Deserialize, Serialize};

use super::rows::VersionedRow;

/// Access of a user. The default is that of a user without a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UserAccess {
    /// True if the user has no login, no session and sends nothing.
    pub deactivated: bool,
    /// Time in seconds since the epoch before which no accepted token was issued; 0 accepts all.
    pub before_s: u64,
}

impl VersionedRow for UserAccess {}
