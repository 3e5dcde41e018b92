//! Profiles of users, from the shards of the users.

use crate::state_machine::ChatTable;
use protocol::UserId;
use serde::{Deserialize, Serialize};

use super::{Result, ScatterQuery};
use crate::state_machine::keys;
use crate::state_machine::profile::ProfileRow;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;

/// Query for profiles that differ from the versions known to the asking node. Anybody who knows an id may read its
/// profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProfilesQuery {
    /// Users with the known version of each; 0 for none.
    pub users: Vec<(UserId, u64)>,
    /// True to read the custom data, too.
    pub with_data: bool,
}

/// Profile as the user's shard has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoredProfile {
    pub ver: u64,
    pub name: Option<Box<str>>,
    pub avatar: Option<Box<str>>,
    /// `None` without custom data, and if the query leaves it out.
    pub data: Option<Box<str>>,
}

// === impl ProfilesQuery ===

impl ScatterQuery for ProfilesQuery {
    type Item = (UserId, u64);
    /// `None` if the known version is the present one.
    type Page = Option<StoredProfile>;

    fn items(&self) -> &[(UserId, u64)] {
        &self.users
    }

    fn routing_key((user, _): &(UserId, u64)) -> &[u8] {
        user.as_ref()
    }

    fn part(&self, users: Vec<(UserId, u64)>) -> ProfilesQuery {
        let with_data = self.with_data;
        ProfilesQuery { users, with_data }
    }

    fn read(&self, rows: &impl RowReader, (user, known): &(UserId, u64)) -> Result<Option<StoredProfile>> {
        let row = rows.get(ChatTable::UserIndex, &keys::profile(user))?;
        let row = row
            .map(|row| ProfileRow::decode(&row))
            .transpose()?
            .unwrap_or_default();
        Ok((row.ver != *known).then(|| StoredProfile {
            ver: row.ver,
            name: row.name,
            avatar: row.avatar,
            data: row.data.filter(|_| self.with_data),
        }))
    }
}
