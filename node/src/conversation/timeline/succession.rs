//! Who owns a conversation after its last owner: the oldest admin, else the oldest member, else the oldest reader.
//!
//! One key per member, in that order, so that the heir is the first or the second of them however many there are.

use protocol::{ConvId, Role, UserId};
use storage::{Error, Order, Table};

use super::door::RowsMut;
use super::keys;
use super::rows::corrupt;

/// Adds a member.
pub(super) fn add(rows: &mut impl RowsMut, conv: &ConvId, role: Role, since: u64, user: &UserId) {
    rows.put(Table::Member, &keys::succession(conv, role, since, user), &[]);
}

/// Removes a member who had that role.
pub(super) fn remove(rows: &mut impl RowsMut, conv: &ConvId, role: Role, since: u64, user: &UserId) {
    rows.delete(Table::Member, &keys::succession(conv, role, since, user));
}

/// Returns the first in the order who isn't `gone`.
pub(super) fn heir(rows: &impl RowsMut, conv: &ConvId, gone: &UserId) -> Result<Option<UserId>, Error> {
    let (start, end) = keys::succession_range(conv);
    // The role and the event's place are before the user.
    let user_at = start.len() + 1 + size_of::<u64>();
    for (key, _) in rows.scan(Table::Member, &start..&end, Order::Ascending, 2)? {
        let user = key.get(user_at..).and_then(|user| std::str::from_utf8(user).ok());
        let user = user.and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or_else(|| corrupt("a malformed key of succession"))?;
        if user != *gone {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
