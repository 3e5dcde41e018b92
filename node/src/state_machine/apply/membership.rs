//! `join`, `invite`, `kick`, `leave` and `role`, and the state of a member that a back end puts: membership is in the log
//! of the messages, so a change takes effect between two of them.

use protocol::event::MemberEvent;
use protocol::{
    ClientMessageId, ConversationKind, CustomData, ErrorCode, FieldPatch, MembershipChange, Role, UserId,
};

use super::{
    CommandScope, MemberContext, Result, fresh, invalid, key, member, not_member, of_a_person, refused, tick,
};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, EventEnvelope};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, EventKind, MemberRow, OutboxChange};
use crate::state_machine::rules::Permission;
use crate::state_machine::{custom_data, keys, owner_succession, rules};

/// Assignment of a role to a user.
#[derive(Clone, Copy)]
pub(super) struct RoleChange<'a> {
    pub(super) who: &'a UserId,
    pub(super) role: Role,
    pub(super) why: MembershipChange,
    /// First visible event; `None` means the event of the change itself.
    pub(super) since: Option<u64>,
}

/// Makes `who` a member by invitation.
pub(super) fn invite(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: &UserId,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    member.may(Permission::Invite)?;
    let role = rules::role_of_new(member.conv.kind);
    add(work, by, cid, member, (who, role))
}

/// Makes `who` a member, or sets the role of a member. A state that holds already is acknowledged without an event.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: &UserId,
    role: Option<Role>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    member.may(Permission::Invite)?;
    let initial = rules::role_of_new(member.conv.kind);
    match (work.member(by.conv, who)?.and_then(|row| row.role), role) {
        (Some(former), Some(role)) if former != role => {
            change_member(work, by, cid, member, (who, former, role, None))
        }
        (Some(_), _) => {
            let mut applied = CommandResult::silent(ApplyEffect::None);
            applied.dup = true;
            Ok(applied)
        }
        (None, role) => {
            let role = role.unwrap_or(initial);
            // Another role than that of an invited user needs the permission to give it.
            if role != initial {
                member.may(Permission::SetRole(initial, role))?;
            }
            add(work, by, cid, member, (who, role))
        }
    }
}

/// Adds `who` with a role, on behalf of a member who may do so.
fn add(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
    member: MemberContext,
    (who, role): (&UserId, Role),
) -> Result<CommandResult> {
    of_a_person(who)?;
    absent(work, by, who)?;
    let mut conv = member.conv;
    let change = RoleChange {
        who,
        role,
        why: MembershipChange::Invite,
        since: None,
    };
    let event = admit(work, by, &mut conv, change)?;
    done(work, by, cid, conv, vec![event])
}

/// Refuses to add a current member or a banned user.
pub(super) fn absent(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    who: &UserId,
) -> Result<()> {
    if let Some(former) = work.member(by.conv, who)? {
        if former.role.is_some() {
            return refused(ErrorCode::Conflict, "already a member");
        }
        if former.banned {
            return refused(ErrorCode::Conflict, "banned: unban first");
        }
    }
    Ok(())
}

/// Makes the user a member of a channel. Any other conversation, and a missing one, is refused alike.
pub(super) fn join(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let former = work.member(by.conv, by.user)?;
    if former.as_ref().is_some_and(|former| former.role.is_some()) {
        return refused(ErrorCode::Conflict, "already a member");
    }
    // A channel without members stays closed: it has no owner, and a new member would never become one.
    let open = |conv: &ConvRow| conv.kind == ConversationKind::Channel && conv.members > 0;
    let Some(mut conv) = work.conv(by.conv)?.filter(open) else {
        return not_member();
    };
    // Checked after the kind: the refusal of a banned user must not reveal groups.
    if former.is_some_and(|former| former.banned) {
        return refused(ErrorCode::Forbidden, "banned from this channel");
    }
    let change = RoleChange {
        who: by.user,
        role: rules::role_of_new(conv.kind),
        why: MembershipChange::Join,
        since: None,
    };
    let event = admit(work, by, &mut conv, change)?;
    done(work, by, cid, conv, vec![event])
}

/// Changes the role or the custom data of a member. The data needs the right to change the role.
pub(super) fn set_role(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    who: &UserId,
    (role, data): (Option<Role>, Option<&str>),
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    // Checked before the lookup: a refusal must not reveal to users without the right whether `who` is a member.
    member.may(Permission::SetRole(Role::Reader, Role::Reader))?;
    let Some(former) = work.member(by.conv, who)?.and_then(|member| member.role) else {
        return refused(ErrorCode::NotFound, "not a member");
    };
    let role = role.unwrap_or(former);
    if former == role && data.is_none() {
        member.may(Permission::SetRole(former, role))?;
        return refused(ErrorCode::Conflict, "has that role already");
    }
    change_member(work, by, cid, member, (who, former, role, data))
}

/// Changes the role of `who` from `former` to `role`, and its custom data.
fn change_member(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
    member: MemberContext,
    (who, former, role, data): (&UserId, Role, Role, Option<&str>),
) -> Result<CommandResult> {
    member.may(Permission::SetRole(former, role))?;
    if !custom_data::fits(data) {
        return invalid("the custom data is too large");
    }
    let mut conv = member.conv;
    // A conversation with members always has an owner; `leave` promotes a successor, a role change does not.
    if former != role && former == Role::Owner && conv.owners == 1 {
        return refused(
            ErrorCode::Conflict,
            "the last owner must first make another member an owner",
        );
    }
    if let Some(data) = data {
        custom_data::write(work.rows, &keys::member_data(by.conv, who), data);
    }
    let event = promote(work, by, &mut conv, who, (role, custom_data::patch(data)?))?;
    done(work, by, cid, conv, vec![event])
}

/// Removes the member `who`.
pub(super) fn kick(
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
    // Checked before the lookup: a refusal must not reveal to users without the right whether `who` is a member.
    member.may(Permission::Kick(Role::Reader))?;
    let Some((role, target)) = work
        .member(by.conv, who)?
        .and_then(|member| Some((member.role?, member)))
    else {
        return refused(ErrorCode::NotFound, "not a member");
    };
    member.may(Permission::Kick(role))?;
    let mut conv = member.conv;
    let mut events = Vec::with_capacity(2);
    // Only the system can remove the last owner: an owner who removes another one remains.
    succeed(work, by, &mut conv, (who, role), &mut events)?;
    events.push(expel(work, by, &mut conv, who, target, MembershipChange::Kick));
    done(work, by, cid, conv, events)
}

/// Removes the user itself. The last owner is succeeded by the oldest admin, else the oldest member, else the oldest
/// reader.
pub(super) fn leave(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    member.may(Permission::Leave)?;
    let MemberContext { mut conv, me, role } = member;
    let mut events = Vec::with_capacity(2);
    succeed(work, by, &mut conv, (by.user, role), &mut events)?;
    events.push(expel(work, by, &mut conv, by.user, me, MembershipChange::Leave));
    done(work, by, cid, conv, events)
}

/// Promotes the successor of the last owner, who is about to be removed.
pub(super) fn succeed(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    (who, role): (&UserId, Role),
    events: &mut Vec<EventEnvelope>,
) -> Result<()> {
    // The promotion precedes the removal in the log, so that no reader sees a conversation with members but no owner.
    if role == Role::Owner
        && conv.owners == 1
        && let Some(next_owner) = owner_succession::next_owner(work.rows, by.conv, who)?
    {
        events.push(promote(
            work,
            by,
            conv,
            &next_owner,
            (Role::Owner, FieldPatch::Keep),
        )?);
    }
    Ok(())
}

/// Appends the event of `change` and writes the member row, its succession key and its outbox entry. The caller writes
/// the conversation row.
pub(super) fn admit(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    change: RoleChange<'_>,
) -> Result<EventEnvelope> {
    let event = record(work, by, conv, change.who, Some(change.role), change.why);
    let former = work
        .member(by.conv, change.who)?
        .unwrap_or_else(MemberRow::non_member);
    // Recorded after the event, so that the list entry has the event's time.
    let version = work.append_outbox(by.conv, change.who, OutboxChange::Joined, conv.last_ts);
    let since = change.since.unwrap_or(conv.last_s);
    let member = MemberRow {
        role: Some(change.role),
        since,
        read: conv.last_s,
        read_mn: conv.last_mn,
        delivered: conv.last_s,
        version,
        // The dedup state survives a departure: a key used before must still return its first result.
        dedups: former.dedups,
        // A block may precede the conversation, so it must survive the creation of the member row.
        banned: former.banned,
        peer: former.peer,
        ..MemberRow::non_member()
    };
    owner_succession::add(work.rows, by.conv, change.role, since, change.who);
    work.set_member(by.conv, change.who, member);
    conv.members += 1;
    conv.owners += u64::from(change.role == Role::Owner);
    Ok(EventEnvelope {
        adds: Some(change.who.clone()),
        ..event
    })
}

/// Appends the event that removes a member, and updates its rows. The member row stays, because it holds the dedup
/// state.
pub(super) fn expel(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    mut member: MemberRow,
    why: MembershipChange,
) -> EventEnvelope {
    let event = record(work, by, conv, who, None, why);
    conv.members -= 1;
    if let Some(role) = member.role.take() {
        conv.owners -= u64::from(role == Role::Owner);
        owner_succession::remove(work.rows, by.conv, role, member.since, who);
    }
    // The data describes the membership, and must not come back with the next one.
    custom_data::write(work.rows, &keys::member_data(by.conv, who), "");
    member.mentions = Vec::new();
    // The end of the membership bounds the events that a former member may still read.
    member.until = conv.last_s;
    member.version = work.append_outbox(by.conv, who, OutboxChange::Left, conv.last_ts);
    work.set_member(by.conv, who, member);
    EventEnvelope {
        removes: Some(who.clone()),
        ..event
    }
}

/// Appends the event of a new role or new custom data, and updates counts and succession.
fn promote(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    (role, data): (Role, FieldPatch<CustomData>),
) -> Result<EventEnvelope> {
    let event = record_with(work, by, conv, who, (Some(role), MembershipChange::Role, data));
    if let Some(mut member) = work.member(by.conv, who)?
        && let Some(former) = member.role.replace(role)
    {
        conv.owners -= u64::from(former == Role::Owner);
        conv.owners += u64::from(role == Role::Owner);
        owner_succession::remove(work.rows, by.conv, former, member.since, who);
        owner_succession::add(work.rows, by.conv, role, member.since, who);
        work.set_member(by.conv, who, member);
    }
    Ok(event)
}

/// Appends a `member` event and advances the conversation's last position. The caller writes the conversation row.
pub(super) fn record(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    role: Option<Role>,
    why: MembershipChange,
) -> EventEnvelope {
    record_with(work, by, conv, who, (role, why, FieldPatch::Keep))
}

/// Appends a `member` event as [`record`] does, with the change of the member's custom data.
fn record_with(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    who: &UserId,
    (role, why, data): (Option<Role>, MembershipChange, FieldPatch<CustomData>),
) -> EventEnvelope {
    conv.last_ts = tick(work, conv);
    conv.last_s += 1;
    let (s, ts) = (conv.last_s, conv.last_ts);
    let event = MemberEvent {
        conversation: by.conv.clone(),
        seq: s,
        timestamp_ms: ts,
        user: by.user.clone(),
        member: who.clone(),
        role,
        change: why,
        data,
    };
    let tail = work.put_event(by.conv, s, EventKind::Member, conv.last_mn, by.user, event.tail());
    EventEnvelope {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    }
}

/// Stores the result under the key and writes the conversation row.
pub(super) fn done(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
    conv: ConvRow,
    events: Vec<EventEnvelope>,
) -> Result<CommandResult> {
    let (s, ts) = (conv.last_s, conv.last_ts);
    // The row is read again: the change may have rewritten it, and an older copy would undo that.
    if let Some(mut me) = work.author(by.conv, by.user)? {
        work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
        work.set_member(by.conv, by.user, me);
    }
    work.set_conv(by.conv, conv);
    Ok(CommandResult {
        seq: Some(s),
        mn: None,
        ts,
        dup: false,
        events,
        effect: ApplyEffect::None,
    })
}
