//! Changes of a user's profile, in the user's shard.

use crate::state_machine::ChatTable;
use protocol::{UserId, limits};

use super::{Result, invalid};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::UserOutcome;
use crate::state_machine::profile::ProfileRow;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Requested changes; `None` leaves a value unchanged, an empty text removes it.
#[derive(Clone, Copy)]
pub(super) struct ProfileChange<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) avatar: Option<&'a str>,
    pub(super) data: Option<&'a str>,
}

/// Changes the profile. A repeated change finds its values and leaves the version as it is.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    change: ProfileChange<'_>,
) -> Result<UserOutcome> {
    if exceeds(change.name, limits::NAME_BYTES)
        || exceeds(change.avatar, limits::AVATAR_BYTES)
        || exceeds(change.data, limits::DATA_BYTES)
    {
        return invalid("a value of the profile is too long");
    }
    let key = keys::profile(user);
    let before = work.rows.get(ChatTable::UserIndex, &key)?;
    let before = before
        .map(|row| ProfileRow::decode(&row))
        .transpose()?
        .unwrap_or_default();
    let mut after = ProfileRow {
        ver: before.ver,
        name: patched(change.name, &before.name),
        avatar: patched(change.avatar, &before.avatar),
        data: patched(change.data, &before.data),
    };
    let changed = after != before;
    if changed {
        after.ver += 1;
        work.rows.put(ChatTable::UserIndex, &key, &after.encode());
    }
    let ver = after.ver;
    Ok(UserOutcome::Profile { ver, changed })
}

fn exceeds(value: Option<&str>, bytes: usize) -> bool {
    value.is_some_and(|value| value.len() > bytes)
}

fn patched(change: Option<&str>, before: &Option<Box<str>>) -> Option<Box<str>> {
    match change {
        Some("") => None,
        Some(value) => Some(value.into()),
        None => before.clone(),
    }
}
