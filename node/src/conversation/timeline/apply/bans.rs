//! `ban` and `unban`: a ban removes the member and keeps the user out until it is taken back.
//!
//! What decides is in the user's own row, which is there anyway whenever it matters; a second row makes the list.

use protocol::{Cid, ErrorCode, Role, UserId, Why};
use storage::Table;

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::Applied;
use super::super::rows::{BanRow, MemberRow, Row};
use super::super::rules::Act;
use super::super::work::Work;
use super::membership::{done, expel, record};
use super::{By, Result, fresh, key, refused, seat};

/// Removes `who`, if a member, and keeps it out.
pub(super) fn ban(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    who: &UserId,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    if who == by.user {
        return refused(ErrorCode::BadRequest, "to go, use leave");
    }
    // Those who may ban nobody learn nothing about who is a member.
    seat.may(Act::Ban(Role::Reader))?;
    let mut target = work.member(by.conv, who)?.unwrap_or_else(MemberRow::stranger);
    if let Some(role) = target.role {
        seat.may(Act::Ban(role))?;
    }
    if target.barred {
        return refused(ErrorCode::Conflict, "banned already");
    }
    let mut conv = seat.conv;
    target.barred = true;
    let event = if target.role.is_some() {
        expel(work, by, &mut conv, who, target, Why::Ban)
    } else {
        work.set_member(by.conv, who, target);
        record(work, by, &mut conv, who, None, Why::Ban)
    };
    let row = BanRow {
        by: by.user.clone(),
        at_ms: conv.last_ts,
    };
    work.rows
        .put(Table::Member, &keys::ban(by.conv, who), &row.encode());
    done(work, by, cid, conv, vec![event])
}

/// Lets `who` come again.
pub(super) fn unban(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    who: &UserId,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    seat.may(Act::Unban)?;
    let Some(target) = work.member(by.conv, who)?.filter(|target| target.barred) else {
        return refused(ErrorCode::NotFound, "not banned");
    };
    let mut conv = seat.conv;
    work.set_member(
        by.conv,
        who,
        MemberRow {
            barred: false,
            ..target
        },
    );
    work.rows.delete(Table::Member, &keys::ban(by.conv, who));
    let event = record(work, by, &mut conv, who, None, Why::Unban);
    done(work, by, cid, conv, vec![event])
}
