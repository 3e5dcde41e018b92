//! Succession of the last owner of a conversation: the oldest admin, else the oldest member, else the oldest reader.
//!
//! Each member has one key in that order, so the next owner is among the first two however many there are.

use super::ChatTable;
use protocol::{ConversationId, Role, UserId};
use storage::{Error, ScanOrder};

use super::keys;
use super::row_store::RowWriter;
use super::rows::corrupt;

/// Adds the key of a member.
pub(super) fn add(rows: &mut impl RowWriter, conv: &ConversationId, role: Role, since: u64, user: &UserId) {
    rows.put(ChatTable::Member, &keys::succession(conv, role, since, user), &[]);
}

/// Removes the key of a member with that role.
pub(super) fn remove(
    rows: &mut impl RowWriter,
    conv: &ConversationId,
    role: Role,
    since: u64,
    user: &UserId,
) {
    rows.delete(ChatTable::Member, &keys::succession(conv, role, since, user));
}

/// Returns the first user in the order other than `gone`; `None` if there is none.
pub(super) fn next_owner(
    rows: &impl RowWriter,
    conv: &ConversationId,
    gone: &UserId,
) -> Result<Option<UserId>, Error> {
    let (start, end) = keys::succession_range(conv);
    // The role and the start of the membership precede the user in the key.
    let user_at = start.len() + 1 + size_of::<u64>();
    for (key, _) in rows.scan(ChatTable::Member, &start..&end, ScanOrder::Ascending, 2)? {
        let user = key.get(user_at..).and_then(|user| std::str::from_utf8(user).ok());
        let user = user.and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or_else(|| corrupt("a malformed key of succession"))?;
        if user != *gone {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
