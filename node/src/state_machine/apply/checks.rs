//! Checks that commands have in common: the key, the membership and the permission of the author.

use protocol::{ClientMessageId, ErrorCode, UserId};
use storage::Error;

use super::CommandScope;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::CommandResult;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, MemberRow};
use crate::state_machine::rules::{self, Permission};

/// Reason for which a command changes nothing.
pub(super) enum ApplyError {
    /// The rules forbid the command; the client receives the error.
    Refused(ErrorCode, String),
    /// The command was applied before; holds its first result.
    Done(CommandResult),
    /// The storage failed; the replica stops.
    Storage(Error),
}

pub(super) type Result<T, E = ApplyError> = std::result::Result<T, E>;

// === impl ApplyError ===

impl From<Error> for ApplyError {
    fn from(error: Error) -> ApplyError {
        ApplyError::Storage(error)
    }
}

pub(super) fn refused<T>(code: ErrorCode, msg: impl Into<String>) -> Result<T> {
    Err(ApplyError::Refused(code, msg.into()))
}

/// Refuses a command that no client can cause: the proposing node built it wrongly.
pub(super) fn invalid<T>(why: &'static str) -> Result<T> {
    refused(ErrorCode::BadRequest, why)
}

pub(super) fn forbidden(why: &'static str) -> ApplyError {
    ApplyError::Refused(ErrorCode::Forbidden, why.to_owned())
}

/// Returns the key, which every command that appends an event needs.
pub(super) fn key(cid: Option<&ClientMessageId>) -> Result<&ClientMessageId> {
    match cid {
        Some(cid) => Ok(cid),
        None => invalid("the command needs a cid"),
    }
}

/// Stops with the first result if the key was used before. This also holds for former members: an acknowledged command
/// stays acknowledged.
pub(super) fn fresh(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
) -> Result<()> {
    match work.first_result(by.conv, by.user, cid)? {
        Some(applied) => Err(ApplyError::Done(applied)),
        None => Ok(()),
    }
}

/// Conversation row, member row and role of the author of a command.
pub(super) struct MemberContext {
    pub(super) conv: ConvRow,
    pub(super) me: MemberRow,
    pub(super) role: protocol::Role,
}

// === impl MemberContext ===

impl MemberContext {
    /// Refuses a command that the role, or a block, does not permit.
    pub(super) fn may(&self, act: Permission) -> Result<()> {
        rules::may(self.conv.kind, self.role, act).map_err(forbidden)?;
        if self.me.banned && act.is_audible() {
            return Err(forbidden(rules::BLOCKED));
        }
        Ok(())
    }
}

/// Returns the author's context. Non-members, former members and missing conversations get the same refusal; the system
/// needs no membership.
pub(super) fn member(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
) -> Result<MemberContext> {
    // Both rows come from the apply context, so earlier commands of the same batch count.
    if let Some(conv) = work.conv(by.conv)?
        && let Some(me) = work.author(by.conv, by.user)?
        && let Some(role) = rules::role_of(by.user, me.role)
    {
        return Ok(MemberContext { conv, me, role });
    }
    not_member()
}

/// Refuses a non-member, with the same error for a missing conversation.
pub(super) fn not_member<T>() -> Result<T> {
    refused(ErrorCode::NotMember, "not a member of this conversation")
}

/// Refuses to do something to the system or to the tombstone of an erased user, which are no persons and no members of
/// groups and channels.
pub(super) fn of_a_person(who: &UserId) -> Result<()> {
    match who.is_reserved() {
        true => refused(ErrorCode::BadRequest, "the id is reserved"),
        false => Ok(()),
    }
}

/// Returns the time of the next event: the batch's, but never before the last event's.
pub(super) fn tick(work: &ApplyContext<'_, impl RowWriter>, conv: &ConvRow) -> u64 {
    // The clock of a new owner may be behind; falling times would break the bisection by time in retention.
    work.now_ms.max(conv.last_ts)
}
