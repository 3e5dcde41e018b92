//! `join`, `invite`, `kick`, `leave` and `role`: membership is in the same log as the messages, so it takes effect between
//! two of them.

use protocol::event::Member;
use protocol::{Cid, ErrorCode, Kind, Role, UserId, Why};

use super::super::door::RowsMut;
use super::super::outcome::{Applied, Effect, Published};
use super::super::rows::{ConvRow, EventKind, MemberRow, News};
use super::super::rules::{self, Act};
use super::super::succession;
use super::super::work::Work;
use super::{By, Result, Seat, fresh, key, not_member, refused, seat, tick};

/// Somebody gets a role.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) who: &'a UserId,
    pub(super) role: Role,
    pub(super) why: Why,
    /// The event from which on it counts, if not that of the change itself.
    pub(super) since: Option<u64>,
}

/// Makes `who` a member.
pub(super) fn invite(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    who: &UserId,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    seat.may(Act::Invite)?;
    absent(work, by, who)?;
    let mut conv = seat.conv;
    let change = Change {
        who,
        role: rules::role_of_new(conv.kind),
        why: Why::Invite,
        since: None,
    };
    let event = admit(work, by, &mut conv, change)?;
    done(work, by, cid, conv, vec![event])
}

/// Refuses to bring in one who is a member, or banned.
pub(super) fn absent(work: &mut Work<'_, impl RowsMut>, by: By<'_>, who: &UserId) -> Result<()> {
    if let Some(former) = work.member(by.conv, who)? {
        if former.role.is_some() {
            return refused(ErrorCode::Conflict, "already a member");
        }
        if former.barred {
            return refused(ErrorCode::Conflict, "banned: unban first");
        }
    }
    Ok(())
}

/// Makes the user a member of a channel. Of other conversations a stranger learns nothing.
pub(super) fn join(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: Option<&Cid>) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let former = work.member(by.conv, by.user)?;
    if former.as_ref().is_some_and(|former| former.role.is_some()) {
        return refused(ErrorCode::Conflict, "already a member");
    }
    // One that everybody has left is over: nobody could own it.
    let open = |conv: &ConvRow| conv.kind == Kind::Channel && conv.members > 0;
    let Some(mut conv) = work.conv(by.conv)?.filter(open) else {
        return not_member();
    };
    if former.is_some_and(|former| former.barred) {
        return refused(ErrorCode::Forbidden, "banned from this channel");
    }
    let change = Change {
        who: by.user,
        role: rules::role_of_new(conv.kind),
        why: Why::Join,
        since: None,
    };
    let event = admit(work, by, &mut conv, change)?;
    done(work, by, cid, conv, vec![event])
}

/// Gives a member another role.
pub(super) fn set_role(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    who: &UserId,
    role: Role,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    // Those who may change no role learn nothing about who is a member.
    seat.may(Act::SetRole(Role::Reader, Role::Reader))?;
    let Some(former) = work.member(by.conv, who)?.and_then(|member| member.role) else {
        return refused(ErrorCode::NotFound, "not a member");
    };
    seat.may(Act::SetRole(former, role))?;
    if former == role {
        return refused(ErrorCode::Conflict, "has that role already");
    }
    let mut conv = seat.conv;
    if former == Role::Owner && conv.owners == 1 {
        return refused(
            ErrorCode::Conflict,
            "the last owner first makes another member an owner",
        );
    }
    let event = promote(work, by, &mut conv, who, role)?;
    done(work, by, cid, conv, vec![event])
}

/// Removes `who`.
pub(super) fn kick(
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
    // Those who may remove nobody learn nothing about who is a member.
    seat.may(Act::Kick(Role::Reader))?;
    let Some((member, target)) = work
        .member(by.conv, who)?
        .and_then(|member| Some((member.role?, member)))
    else {
        return refused(ErrorCode::NotFound, "not a member");
    };
    seat.may(Act::Kick(member))?;
    let mut conv = seat.conv;
    let event = expel(work, by, &mut conv, who, target, Why::Kick);
    done(work, by, cid, conv, vec![event])
}

/// Removes the user itself. The last owner names a successor by going: the oldest admin, else the oldest member.
pub(super) fn leave(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: Option<&Cid>) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    seat.may(Act::Leave)?;
    let Seat { mut conv, me, role } = seat;
    let mut events = Vec::with_capacity(2);
    if role == Role::Owner
        && conv.owners == 1
        && let Some(heir) = succession::heir(work.rows, by.conv, by.user)?
    {
        events.push(promote(work, by, &mut conv, &heir, Role::Owner)?);
    }
    events.push(expel(work, by, &mut conv, by.user, me, Why::Leave));
    done(work, by, cid, conv, events)
}

/// Writes the event of `change` and all that goes with a new member. The caller writes the conversation's row.
pub(super) fn admit(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    change: Change<'_>,
) -> Result<Published> {
    let event = record(work, by, conv, change.who, Some(change.role), change.why);
    let former = work
        .member(by.conv, change.who)?
        .unwrap_or_else(MemberRow::stranger);
    let version = work.tell_user(by.conv, change.who, News::Joined, conv.last_ts);
    let since = change.since.unwrap_or(conv.last_s);
    let member = MemberRow {
        role: Some(change.role),
        since,
        read: conv.last_s,
        read_mn: conv.last_mn,
        delivered: conv.last_s,
        version,
        dedups: former.dedups,
        // A block is there before the conversation is.
        barred: former.barred,
        peer: former.peer,
        ..MemberRow::stranger()
    };
    succession::add(work.rows, by.conv, change.role, since, change.who);
    work.set_member(by.conv, change.who, member);
    conv.members += 1;
    conv.owners += u64::from(change.role == Role::Owner);
    Ok(Published {
        adds: Some(change.who.clone()),
        ..event
    })
}

/// Writes the event that removes a member and all that goes with it. The row stays, for the keys that were used.
pub(super) fn expel(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    mut member: MemberRow,
    why: Why,
) -> Published {
    let event = record(work, by, conv, who, None, why);
    conv.members -= 1;
    if let Some(role) = member.role.take() {
        conv.owners -= u64::from(role == Role::Owner);
        succession::remove(work.rows, by.conv, role, member.since, who);
    }
    member.mentions = Vec::new();
    member.until = conv.last_s;
    member.version = work.tell_user(by.conv, who, News::Left, conv.last_ts);
    work.set_member(by.conv, who, member);
    Published {
        removes: Some(who.clone()),
        ..event
    }
}

/// Writes the event of a new role and all that goes with it.
fn promote(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    role: Role,
) -> Result<Published> {
    let event = record(work, by, conv, who, Some(role), Why::Role);
    if let Some(mut member) = work.member(by.conv, who)?
        && let Some(former) = member.role.replace(role)
    {
        conv.owners -= u64::from(former == Role::Owner);
        conv.owners += u64::from(role == Role::Owner);
        succession::remove(work.rows, by.conv, former, member.since, who);
        succession::add(work.rows, by.conv, role, member.since, who);
        work.set_member(by.conv, who, member);
    }
    Ok(event)
}

/// Writes a `member` event and counts it.
pub(super) fn record(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    role: Option<Role>,
    why: Why,
) -> Published {
    conv.last_ts = tick(work, conv);
    conv.last_s += 1;
    let (s, ts) = (conv.last_s, conv.last_ts);
    let event = Member {
        c: by.conv.clone(),
        s,
        ts,
        u: by.user.clone(),
        who: who.clone(),
        role,
        why,
    };
    let tail = work.put_event(by.conv, s, EventKind::Member, conv.last_mn, by.user, event.tail());
    Published {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    }
}

/// Keeps the result under the key and writes the conversation.
pub(super) fn done(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: &Cid,
    conv: ConvRow,
    events: Vec<Published>,
) -> Result<Applied> {
    let (s, ts) = (conv.last_s, conv.last_ts);
    if let Some(mut me) = work.member(by.conv, by.user)? {
        work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
        work.set_member(by.conv, by.user, me);
    }
    work.set_conv(by.conv, conv);
    Ok(Applied {
        s,
        mn: 0,
        ts,
        dup: false,
        events,
        effect: Effect::None,
    })
}
