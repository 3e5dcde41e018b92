//! Access of a user: deactivation, and the time before which tokens are refused. Both end the logins concerned.

use protocol::UserId;

use super::{Result, login};
use crate::state_machine::ChatTable;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::UserOutcome;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;
use crate::state_machine::user_access::UserAccess;

/// Sets the given values; `None` leaves a value unchanged. Without a value only the sessions of the user end.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    deactivated: Option<bool>,
    before_s: Option<u64>,
) -> Result<UserOutcome> {
    let known = read(work, user)?;
    let access = UserAccess {
        deactivated: deactivated.unwrap_or(known.deactivated),
        // Never earlier: a late repetition of an older request must not accept tokens again.
        before_s: before_s.unwrap_or(0).max(known.before_s),
    };
    if access != known {
        work.rows
            .put(ChatTable::UserIndex, &keys::access(user), &access.encode());
    }
    let ends_before_s = match deactivated {
        Some(true) => Some(u64::MAX),
        _ => before_s,
    };
    let logins = match ends_before_s {
        Some(before_s) => login::end_before(work, user, before_s)?,
        None => Vec::new(),
    };
    Ok(UserOutcome::AccessChanged {
        logins,
        closes: deactivated != Some(false),
    })
}

/// Returns the access of a user.
pub(super) fn read(work: &ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<UserAccess> {
    let row = work.rows.get(ChatTable::UserIndex, &keys::access(user))?;
    let row = row.map(|row| UserAccess::decode(&row)).transpose()?;
    Ok(row.unwrap_or_default())
}
