//! `invite`, `kick` and `leave`: membership is in the same log as the messages, so it takes effect between two of them.

use protocol::event::Member;
use protocol::{Cid, ErrorCode, Role, UserId, Why};
use storage::{Order, Table};

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, Published};
use super::super::rows::{ConvRow, EventKind, MemberRow, Row, corrupt};
use super::super::rules::{self, Act};
use super::super::work::Work;
use super::{By, Result, Seat, forbidden, fresh, key, refused, seat, tick};

/// How many member rows are looked at in one step of a search.
const SCAN_PAGE: usize = 512;

/// Somebody gets a role.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) who: &'a UserId,
    pub(super) role: Role,
    pub(super) why: Why,
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
    let Seat { mut conv, role, .. } = seat(work, by)?;
    rules::may(conv.kind, role, Act::Invite).map_err(forbidden)?;
    if work
        .member(by.conv, who)?
        .is_some_and(|member| member.role.is_some())
    {
        return refused(ErrorCode::Conflict, "already a member");
    }
    let change = Change {
        who,
        role: rules::role_of_new(conv.kind),
        why: Why::Invite,
    };
    let event = admit(work, by, &mut conv, change)?;
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
    let Seat { mut conv, role, .. } = seat(work, by)?;
    if who == by.user {
        return refused(ErrorCode::BadRequest, "to go, use leave");
    }
    // Those who may remove nobody learn nothing about who is a member.
    rules::may(conv.kind, role, Act::Kick(Role::Reader)).map_err(forbidden)?;
    let Some((member, target)) = work
        .member(by.conv, who)?
        .and_then(|member| Some((member.role?, member)))
    else {
        return refused(ErrorCode::NotFound, "not a member");
    };
    rules::may(conv.kind, role, Act::Kick(member)).map_err(forbidden)?;
    let event = expel(work, by, &mut conv, who, target, Why::Kick);
    done(work, by, cid, conv, vec![event])
}

/// Removes the user itself. The last owner names a successor by going: the oldest admin, else the oldest member.
pub(super) fn leave(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: Option<&Cid>) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let Seat { mut conv, me, role } = seat(work, by)?;
    rules::may(conv.kind, role, Act::Leave).map_err(forbidden)?;
    let mut events = Vec::with_capacity(2);
    if role == Role::Owner
        && conv.owners == 1
        && let Some(heir) = successor(work, by)?
    {
        events.push(promote(work, by, &mut conv, &heir)?);
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
    let dedups = work
        .member(by.conv, change.who)?
        .map(|former| former.dedups)
        .unwrap_or_default();
    let version = work.tell_user(by.conv, change.who, true, conv.last_ts);
    let member = MemberRow {
        role: Some(change.role),
        since: conv.last_s,
        read: conv.last_s,
        read_mn: conv.last_mn,
        delivered: conv.last_s,
        mentions: Vec::new(),
        version,
        dedups,
    };
    work.set_member(by.conv, change.who, member);
    conv.members += 1;
    conv.owners += u64::from(change.role == Role::Owner);
    Ok(Published {
        adds: Some(change.who.clone()),
        ..event
    })
}

/// Writes the event that removes a member and all that goes with it. The row stays, for the keys that were used.
fn expel(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    mut member: MemberRow,
    why: Why,
) -> Published {
    let event = record(work, by, conv, who, None, why);
    conv.members -= 1;
    conv.owners -= u64::from(member.role == Some(Role::Owner));
    member.role = None;
    member.mentions = Vec::new();
    member.version = work.tell_user(by.conv, who, false, conv.last_ts);
    work.set_member(by.conv, who, member);
    Published {
        removes: Some(who.clone()),
        ..event
    }
}

/// Makes a member an owner.
fn promote(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    heir: &UserId,
) -> Result<Published> {
    let event = record(work, by, conv, heir, Some(Role::Owner), Why::Role);
    if let Some(mut member) = work.member(by.conv, heir)? {
        member.role = Some(Role::Owner);
        work.set_member(by.conv, heir, member);
        conv.owners += 1;
    }
    Ok(event)
}

/// Returns the oldest admin, else the oldest member, else the oldest reader. Reads all members: the last owner of a
/// conversation goes rarely.
fn successor(work: &mut Work<'_, impl RowsMut>, by: By<'_>) -> Result<Option<UserId>> {
    work.flush_members();
    let (mut start, end) = keys::range_after(by.conv.as_str(), None);
    let name = start.len();
    let mut best: Option<(Role, u64, UserId)> = None;
    loop {
        let page = work
            .rows
            .scan(Table::Member, &start..&end, Order::Ascending, SCAN_PAGE)?;
        for (key, row) in &page {
            let row = MemberRow::decode(row)?;
            let user = std::str::from_utf8(&key[name..])
                .ok()
                .and_then(|user| UserId::parse(user).ok());
            let user = user.ok_or_else(|| corrupt("a malformed member key"))?;
            if let Some(role) = row.role
                && user != *by.user
                && best
                    .as_ref()
                    .is_none_or(|(r, since, _)| (role, row.since) < (*r, *since))
            {
                best = Some((role, row.since, user));
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == SCAN_PAGE => {
                start = key.to_vec();
                start.push(0);
            }
            _ => return Ok(best.map(|(_, _, user)| user)),
        }
    }
}

/// Writes a `member` event and counts it.
fn record(
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
    }
}

/// Keeps the result under the key and writes the conversation.
fn done(
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
