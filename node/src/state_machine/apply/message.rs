//! `edit`, `del` and `react`: changes of an existing message.
//!
//! Each appends an event and updates the message state row. `del` also removes the text from the rows of the message
//! and of its edits; the remaining rows hold their place in the log.

use crate::state_machine::ChatTable;
use protocol::event::{self, DeleteEvent, EditEvent, ReactionEvent};
use protocol::{Body, ClientMessageId, ConversationId, ErrorCode, Event, UserId, limits, text};

use super::send::{alert, check};
use super::{CommandScope, MemberContext, Result, fresh, invalid, key, member, refused, tick};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::message_state::{MessageStateRow, ReactionRow};
use crate::state_machine::outcome::{ApplyEffect, CommandResult, EventEnvelope};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, EventKind, EventRow, VersionedRow, corrupt};
use crate::state_machine::rules::Permission;
use crate::state_machine::{deleted, keys};

/// Reaction that is set (`on`) or removed.
pub(super) struct Reaction<'a> {
    pub(super) k: &'a str,
    pub(super) on: bool,
    /// User whose reaction is removed; `None` means the user's own.
    pub(super) who: Option<&'a UserId>,
}

/// Replaces the body of a message, and its mentions if given.
pub(super) fn edit(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    of: u64,
    body: &str,
    mentions: Option<&[UserId]>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    check(body, mentions.unwrap_or_default())?;
    let Ok(b) = Body::new(body) else {
        return invalid("the body is not a JSON object");
    };
    let member = member(work, by)?;
    // Checked before the lookup: a refusal must not reveal to a reader which messages exist.
    member.may(Permission::Edit { own: true })?;
    let target = target(work, by, &member, of)?;
    let own = target.author == *by.user;
    member.may(Permission::Edit { own })?;
    alive(&target)?;
    let mut fold = MessageStateRow::of(work.rows, by.conv, of)?;
    if fold.edits.len() >= limits::EDITS {
        return refused(
            ErrorCode::Conflict,
            format!("a message can be edited {} times", limits::EDITS),
        );
    }
    // `append` assigns the same position: nothing else advances the log within this command.
    let s = member.conv.last_s + 1;
    // Read before `mentions` moves to this edit; afterwards the former mentions could not be found any more.
    let before = match mentions {
        Some(_) => fold.mentioned(work.rows, by.conv, &target)?,
        None => Vec::new(),
    };
    fold.edits.push(s);
    fold.mentions = mentions.map_or(fold.mentions, |_| s);
    fold.put(work.rows, by.conv, of);
    let applied = append(work, by, cid, member, EventKind::Edit, |s, ts| {
        let (c, u) = (by.conv.clone(), by.user.clone());
        let (mentions, deleted) = (mentions.map(<[UserId]>::to_vec), false);
        Event::Edit(EditEvent {
            conversation: c,
            seq: s,
            target_seq: of,
            user: u,
            timestamp_ms: ts,
            body: b,
            mentions,
            deleted,
        })
    })?;
    // After `append`, which writes the member row that it holds: an earlier change of that row would be lost.
    if let Some(after) = mentions {
        for user in before.iter().filter(|user| !after.contains(user)) {
            unalert(work, by.conv, of, user)?;
        }
        alert(work, by, of, after)?;
    }
    Ok(applied)
}

/// Deletes a message. Deleting it again is acknowledged with the position of the first deletion.
pub(super) fn delete(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    of: u64,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let mut member = member(work, by)?;
    member.may(Permission::Delete { own: true })?;
    let (target, own) = deletable(work, by, &member, of)?;
    member.may(Permission::Delete { own })?;
    let fold = MessageStateRow::of(work.rows, by.conv, of)?;
    if let Some(s) = fold.deleted {
        return acknowledge_done(work, by, cid, member, s);
    }
    let alerted = redact(work, by.conv, &mut member.conv, (of, &target), &fold)?;
    let applied = append(work, by, cid, member, EventKind::Delete, |s, ts| {
        let (c, u) = (by.conv.clone(), by.user.clone());
        Event::Del(DeleteEvent {
            conversation: c,
            seq: s,
            target_seq: of,
            user: u,
            timestamp_ms: ts,
        })
    })?;
    set_deleted(work, by.conv, of, applied.seq.unwrap_or(0), alerted)?;
    Ok(applied)
}

/// Removes the text of a message and of its edits, and counts it as deleted. Returns the users whom it mentioned. Called
/// once for a message, because the count must not grow again.
pub(super) fn redact(
    work: &mut ApplyContext<'_, impl RowWriter>,
    id: &ConversationId,
    conv: &mut ConvRow,
    (of, target): (u64, &EventRow),
    fold: &MessageStateRow,
) -> Result<Vec<UserId>> {
    // Collected before the rows are redacted, which also removes the mentions.
    let alerted = fold.mentioned(work.rows, id, target)?;
    blank(work, id, of, target, EventKind::Tombstone)?;
    for s in &fold.edits {
        let edit = work.event(id, *s)?.ok_or_else(|| corrupt("an edit is missing"))?;
        blank(work, id, *s, &edit, EventKind::Edit)?;
    }
    deleted::add(work.rows, id, target.mn)?;
    conv.deleted_mn = conv.deleted_mn.max(target.mn);
    Ok(alerted)
}

/// Records the event at `s` as the deletion of the message at `of`, and removes the message from the unread mentions.
pub(super) fn set_deleted(
    work: &mut ApplyContext<'_, impl RowWriter>,
    id: &ConversationId,
    of: u64,
    s: u64,
    alerted: Vec<UserId>,
) -> Result<()> {
    // The rows of single reactions stay: they may be many, and they hold no text.
    let fold = MessageStateRow {
        deleted: Some(s),
        ..MessageStateRow::default()
    };
    fold.put(work.rows, id, of);
    for user in alerted {
        unalert(work, id, of, &user)?;
    }
    Ok(())
}

/// Sets or removes a reaction. Removal may name another user's reaction. A state that holds already is acknowledged
/// without an event.
pub(super) fn react(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    of: u64,
    reaction: &Reaction<'_>,
) -> Result<CommandResult> {
    // Before the checks: an acknowledged command keeps its result even if the message was deleted since.
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let Reaction { k, on, who } = *reaction;
    if let Err(why) = text::reaction(k) {
        return refused(ErrorCode::BadRequest, why);
    }
    let other = who.filter(|who| *who != by.user);
    let who = other.unwrap_or(by.user);
    let member = member(work, by)?;
    match other {
        None => member.may(Permission::React)?,
        Some(_) if on => return refused(ErrorCode::BadRequest, "users can react only for themselves"),
        Some(_) => member.may(Permission::Unreact)?,
    }
    let target = target(work, by, &member, of)?;
    alive(&target)?;
    let mut fold = MessageStateRow::of(work.rows, by.conv, of)?;
    // The first user decides the spelling; variants of the same emoji count together.
    let k = fold.spelling(k).unwrap_or_else(|| k.to_owned());
    // Keyed by the normalized reaction: a variant must not count as a second one of the same user.
    let row = keys::reaction(by.conv, of, who, &text::reaction_of(&k));
    let known = work.rows.get(ChatTable::Message, &row)?;
    let known = known.map(|row| ReactionRow::decode(&row)).transpose()?;
    match known {
        Some(ReactionRow { s }) if on => return acknowledge_done(work, by, cid, member, s),
        None if !on => return acknowledge_done(work, by, cid, member, 0),
        _ => {}
    }
    let count = fold.reactions.get(&k).copied().unwrap_or(0);
    if on {
        if count == 0 && fold.reactions.len() >= limits::REACTIONS {
            return refused(
                ErrorCode::Conflict,
                format!("a message has at most {} different reactions", limits::REACTIONS),
            );
        }
        fold.reactions.insert(k.clone(), count + 1);
    } else if count > 1 {
        fold.reactions.insert(k.clone(), count - 1);
    } else {
        fold.reactions.remove(&k);
    }
    fold.put(work.rows, by.conv, of);
    let applied = append(work, by, cid, member, EventKind::React, |s, ts| {
        let (c, u) = (by.conv.clone(), who.clone());
        let by = other.map(|_| by.user.clone());
        Event::React(ReactionEvent {
            conversation: c,
            seq: s,
            target_seq: of,
            user: u,
            timestamp_ms: ts,
            reaction: k,
            active: on,
            removed_by: by,
        })
    })?;
    match applied.seq.filter(|_| on) {
        Some(s) => work
            .rows
            .put(ChatTable::Message, &row, &ReactionRow { s }.encode()),
        None => work.rows.delete(ChatTable::Message, &row),
    }
    Ok(applied)
}

/// Returns the message at `of`, deleted or not, if the member may see it.
fn target(
    work: &ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    member: &MemberContext,
    of: u64,
) -> Result<EventRow> {
    match message(work, by, member, of)? {
        Some(row) if of >= member.me.floor(&member.conv) => Ok(row),
        _ => no_message(),
    }
}

/// Returns the message at `of`, deleted or not, and true if it is the member's own. An own message may be deleted even
/// if it precedes the present membership.
fn deletable(
    work: &ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    member: &MemberContext,
    of: u64,
) -> Result<(EventRow, bool)> {
    match message(work, by, member, of)? {
        Some(row) if row.author == *by.user => Ok((row, true)),
        Some(row) if of >= member.me.floor(&member.conv) => Ok((row, false)),
        _ => no_message(),
    }
}

/// Returns the message at `of`; `None` if it is trimmed or no message.
fn message(
    work: &ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    member: &MemberContext,
    of: u64,
) -> Result<Option<EventRow>> {
    // Trimmed rows are removed in steps, so the row may still exist below the first retained position.
    if of < member.conv.floor() {
        return Ok(None);
    }
    let row = work.event(by.conv, of)?;
    Ok(row.filter(|row| matches!(row.kind, EventKind::Message | EventKind::Tombstone)))
}

fn no_message<T>() -> Result<T> {
    refused(ErrorCode::NotFound, "of is not a message of this conversation")
}

/// Refuses the change if the message was deleted.
fn alive(target: &EventRow) -> Result<()> {
    if target.kind == EventKind::Tombstone {
        return refused(ErrorCode::Conflict, "the message was deleted");
    }
    Ok(())
}

/// Replaces the row at `s` by one without text.
pub(super) fn blank(
    work: &mut ApplyContext<'_, impl RowWriter>,
    conv: &ConversationId,
    s: u64,
    row: &EventRow,
    kind: EventKind,
) -> Result<()> {
    let tail = std::str::from_utf8(&row.tail).map_err(|_| corrupt("an event is not text"))?;
    let tail = event::tombstone(tail);
    work.put_event(conv, s, kind, row.mn, &row.author, tail);
    Ok(())
}

/// Removes the mention of `user` by the message at `of` from the user's unread mentions.
pub(super) fn unalert(
    work: &mut ApplyContext<'_, impl RowWriter>,
    conv: &ConversationId,
    of: u64,
    user: &UserId,
) -> Result<()> {
    if let Some(mut member) = work.member(conv, user)?
        && let Ok(at) = member.mentions.binary_search(&of)
    {
        member.mentions.remove(at);
        work.set_member(conv, user, member);
    }
    Ok(())
}

/// Appends the event and stores the result under the key.
fn append(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
    member: MemberContext,
    kind: EventKind,
    event: impl FnOnce(u64, u64) -> Event,
) -> Result<CommandResult> {
    let MemberContext { mut conv, mut me, .. } = member;
    let ts = tick(work, &conv);
    conv.last_s += 1;
    conv.last_ts = ts;
    let s = conv.last_s;
    let tail = event(s, ts).tail();
    let tail = work.put_event(by.conv, s, kind, conv.last_mn, by.user, tail);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
    work.set_member(by.conv, by.user, me);
    work.set_conv(by.conv, conv);
    let event = EventEnvelope {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    };
    Ok(CommandResult {
        seq: Some(s),
        mn: None,
        ts,
        dup: false,
        events: vec![event],
        effect: ApplyEffect::None,
    })
}

/// Acknowledges, under a new key, a state that holds already. `s` is the event that caused it, 0 if there is none.
fn acknowledge_done(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: &ClientMessageId,
    member: MemberContext,
    s: u64,
) -> Result<CommandResult> {
    let MemberContext { conv, mut me, .. } = member;
    // Not the time of that event: a dedup row expires by the time at which its key was used.
    let ts = tick(work, &conv);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
    work.set_member(by.conv, by.user, me);
    Ok(CommandResult {
        seq: (s > 0).then_some(s),
        ts,
        dup: true,
        ..CommandResult::silent(ApplyEffect::None)
    })
}
