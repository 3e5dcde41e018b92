//! Rows that restrict presence and typing, which are otherwise in-memory state.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, UserId};

use super::{QueryContext, QueryError, Result};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{BlockRow, LastSeenRow, MemberRow, VersionedRow};
use crate::state_machine::rules::Permission;
use crate::state_machine::{keys, rules};

/// Persisted facts about a user that decide about the presence shown to one viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PresenceVisibility {
    /// Last-seen time in milliseconds since the epoch; `None` if never recorded.
    pub seen: Option<u64>,
    /// Start of the user's block of the viewer in milliseconds since the epoch; `None` without a block.
    pub blocked: Option<u64>,
}

/// Returns the time at which a user was last seen, in milliseconds since the epoch; `None` if never recorded.
pub(super) fn last_seen(rows: &impl RowReader, user: &UserId) -> Result<Option<u64>> {
    let seen = rows.get(ChatTable::UserIndex, &keys::seen(user))?;
    let seen = seen.map(|row| LastSeenRow::decode(&row)).transpose()?;
    Ok(seen.map(|row| row.at_ms))
}

/// Returns the facts about `user` for `viewer`; both rows are in the user's shard.
pub fn standing(rows: &impl RowReader, user: &UserId, viewer: &UserId) -> Result<PresenceVisibility> {
    let block = rows.get(ChatTable::UserIndex, &keys::block(user, viewer))?;
    let block = block.map(|row| BlockRow::decode(&row)).transpose()?;
    Ok(PresenceVisibility {
        seen: last_seen(rows, user)?,
        blocked: block.filter(|row| row.on).map(|row| row.at_ms),
    })
}

/// Returns true if typing of `user` in `conv` is sent to the others. It requires a member with the right to send, at
/// most `members` members, and no block between the users of a direct conversation.
pub fn may_type(rows: &impl RowReader, conv: &ConversationId, user: &UserId, members: u64) -> Result<bool> {
    match QueryContext::of(rows, conv, user) {
        Ok(context) => Ok(
            rules::may(context.conv.kind, context.role, Permission::Send).is_ok()
                && !context.me.banned
                && !blocks_the_other(rows, conv, user, &context)?
                && context.conv.members <= members,
        ),
        Err(QueryError::NotMember | QueryError::Forbidden(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn blocks_the_other(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    context: &QueryContext,
) -> Result<bool> {
    let Some(peer) = context.conv.peer_of(user) else {
        return Ok(false);
    };
    let row = rows.get(ChatTable::Member, &keys::member(conv, peer))?;
    let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| row.banned))
}
