//! Profile of a user: displayed name, picture and custom data, a row of the user's shard.

use serde::{Deserialize, Serialize};

use super::rows::VersionedRow;

/// Profile of a user. A user without a row has none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct ProfileRow {
    /// Grows by one with each change, also when everything is removed.
    pub(super) ver: u64,
    pub(super) name: Option<Box<str>>,
    /// URL of the user's picture.
    pub(super) avatar: Option<Box<str>>,
    /// Custom data, a JSON object.
    pub(super) data: Option<Box<str>>,
}

impl VersionedRow for ProfileRow {}
