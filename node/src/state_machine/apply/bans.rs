//! `ban` and `unban`: a ban removes the member and refuses the user until it is lifted.
//!
//! The flag in the user's own member row decides; that row is read anyway wherever it matters. A second row feeds the
//! ban list.

use crate::state_machine::ChatTable;
use protocol::{ClientMessageId, ErrorCode, MembershipChange, Role, UserId};

use super::membership::{done, expel, record};
use super::{CommandScope, Result, fresh, key, member, of_a_person, refused};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::CommandResult;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{BanRow, MemberRow, VersionedRow};
use crate::state_machine::rules::Permission;

/// Bans `who`, and removes it if it is a member.
pub(super) fn ban(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: &UserId,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    if who == by.user {
        return refused(ErrorCode::BadRequest, "use leave to leave the conversation");
    }
    of_a_person(who)?;
    // Checked before the lookup: a refusal must not reveal to users without the right whether `who` is a member.
    member.may(Permission::Ban(Role::Reader))?;
    let mut target = work.member(by.conv, who)?.unwrap_or_else(MemberRow::non_member);
    if let Some(role) = target.role {
        member.may(Permission::Ban(role))?;
    }
    if target.banned {
        return refused(ErrorCode::Conflict, "banned already");
    }
    let mut conv = member.conv;
    target.banned = true;
    let event = if target.role.is_some() {
        expel(work, by, &mut conv, who, target, MembershipChange::Ban)
    } else {
        // Only a member is removed; a ban of a non-member changes no count and needs no outbox entry.
        work.set_member(by.conv, who, target);
        record(work, by, &mut conv, who, None, MembershipChange::Ban)
    };
    let row = BanRow {
        by: by.user.clone(),
        at_ms: conv.last_ts,
    };
    work.rows
        .put(ChatTable::Member, &keys::ban(by.conv, who), &row.encode());
    done(work, by, cid, conv, vec![event])
}

/// Lifts the ban of `who`, which does not restore the membership.
pub(super) fn unban(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: &UserId,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    member.may(Permission::Unban)?;
    let Some(target) = work.member(by.conv, who)?.filter(|target| target.banned) else {
        return refused(ErrorCode::NotFound, "not banned");
    };
    let mut conv = member.conv;
    // The row stays: it holds the user's dedup state and the events visible to it before.
    work.set_member(
        by.conv,
        who,
        MemberRow {
            banned: false,
            ..target
        },
    );
    work.rows.delete(ChatTable::Member, &keys::ban(by.conv, who));
    let event = record(work, by, &mut conv, who, None, MembershipChange::Unban);
    done(work, by, cid, conv, vec![event])
}
