//! `edit`, `del` and `react`: what is done to a message that is there.
//!
//! Each appends an event, and changes the row in which the message's history is folded. `del` also takes the words out of
//! the rows that held them, the message's own and those of its edits: what is left keeps its place in the log.

use protocol::event::{self, Del, Edit, React};
use protocol::{Body, Cid, ErrorCode, Event, UserId, limits, text};
use storage::Table;

use super::super::deleted;
use super::super::door::RowsMut;
use super::super::fold::{FoldRow, ReactionRow};
use super::super::keys;
use super::super::outcome::{Applied, Effect, Published};
use super::super::rows::{EventKind, EventRow, Row, corrupt};
use super::super::rules::Act;
use super::super::work::Work;
use super::send::{alert, check};
use super::{By, Result, Seat, Stop, fresh, key, refused, seat, tick};

/// A reaction that is set or taken back.
pub(super) struct Reaction<'a> {
    pub(super) k: &'a str,
    pub(super) on: bool,
    /// Whose, if not the user's own.
    pub(super) who: Option<&'a UserId>,
}

/// Changes the body of a message, and whom it mentions, if that is said.
pub(super) fn edit(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    of: u64,
    body: &str,
    mentions: Option<&[UserId]>,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    check(body, mentions.unwrap_or_default())?;
    let b = Body::new(body).map_err(|_| Stop::Bad("the body is no JSON object"))?;
    let seat = seat(work, by)?;
    // A reader may edit nothing, and learns nothing about what is there.
    seat.may(Act::Edit { own: true })?;
    let target = target(work, by, &seat, of)?;
    let own = target.author == *by.user;
    seat.may(Act::Edit { own })?;
    alive(&target)?;
    let mut fold = FoldRow::of(work.rows, by.conv, of)?;
    if fold.edits.len() >= limits::EDITS {
        return refused(
            ErrorCode::Conflict,
            format!("a message can be edited {} times", limits::EDITS),
        );
    }
    let s = seat.conv.last_s + 1;
    let before = match mentions {
        Some(_) => fold.mentioned(work.rows, by.conv, &target)?,
        None => Vec::new(),
    };
    fold.edits.push(s);
    fold.mentions = mentions.map_or(fold.mentions, |_| s);
    fold.put(work.rows, by.conv, of);
    let applied = append(work, by, cid, seat, EventKind::Edit, |s, ts| {
        let (c, u) = (by.conv.clone(), by.user.clone());
        let (mentions, deleted) = (mentions.map(<[UserId]>::to_vec), false);
        Event::Edit(Edit {
            c,
            s,
            of,
            u,
            ts,
            b,
            mentions,
            deleted,
        })
    })?;
    if let Some(after) = mentions {
        for user in before.iter().filter(|user| !after.contains(user)) {
            unalert(work, by, of, user)?;
        }
        alert(work, by, of, after)?;
    }
    Ok(applied)
}

/// Deletes a message. Deleting it once more is acknowledged with the event of the first time.
pub(super) fn delete(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    of: u64,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let mut seat = seat(work, by)?;
    seat.may(Act::Delete { own: true })?;
    let (target, own) = deletable(work, by, &seat, of)?;
    seat.may(Act::Delete { own })?;
    let fold = FoldRow::of(work.rows, by.conv, of)?;
    if let Some(s) = fold.deleted {
        return settled(work, by, cid, seat, s);
    }
    let alerted = fold.mentioned(work.rows, by.conv, &target)?;
    blank(work, by, of, &target, EventKind::Tombstone)?;
    for s in fold.edits {
        let edit = work
            .event(by.conv, s)?
            .ok_or_else(|| corrupt("an edit is gone"))?;
        blank(work, by, s, &edit, EventKind::Edit)?;
    }
    deleted::add(work.rows, by.conv, target.mn)?;
    seat.conv.later.deleted_mn = seat.conv.later.deleted_mn.max(target.mn);
    let applied = append(work, by, cid, seat, EventKind::Delete, |s, ts| {
        let (c, u) = (by.conv.clone(), by.user.clone());
        Event::Del(Del { c, s, of, u, ts })
    })?;
    // The rows of single reactions stay: there may be many, and they hold no words.
    let fold = FoldRow {
        deleted: Some(applied.s),
        ..FoldRow::default()
    };
    fold.put(work.rows, by.conv, of);
    for user in alerted {
        unalert(work, by, of, &user)?;
    }
    Ok(applied)
}

/// Sets or takes back a reaction, one's own or, to take it back, another's. What is so already is acknowledged without
/// an event.
pub(super) fn react(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    of: u64,
    reaction: &Reaction<'_>,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let Reaction { k, on, who } = *reaction;
    if let Err(why) = text::reaction(k) {
        return refused(ErrorCode::BadRequest, why);
    }
    let other = who.filter(|who| *who != by.user);
    let who = other.unwrap_or(by.user);
    let seat = seat(work, by)?;
    match other {
        None => seat.may(Act::React)?,
        Some(_) if on => return refused(ErrorCode::BadRequest, "nobody reacts for another"),
        Some(_) => seat.may(Act::Unreact)?,
    }
    let target = target(work, by, &seat, of)?;
    alive(&target)?;
    let mut fold = FoldRow::of(work.rows, by.conv, of)?;
    // Whoever comes first says how it is spelled.
    let k = fold.spelling(k).unwrap_or_else(|| k.to_owned());
    let row = keys::reaction(by.conv, of, who, &text::reaction_of(&k));
    let known = work.rows.get(Table::Message, &row)?;
    let known = known.map(|row| ReactionRow::decode(&row)).transpose()?;
    match known {
        Some(ReactionRow { s }) if on => return settled(work, by, cid, seat, s),
        None if !on => return settled(work, by, cid, seat, 0),
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
    let applied = append(work, by, cid, seat, EventKind::React, |s, ts| {
        let (c, u) = (by.conv.clone(), who.clone());
        let by = other.map(|_| by.user.clone());
        Event::React(React {
            c,
            s,
            of,
            u,
            ts,
            k,
            on,
            by,
        })
    })?;
    if on {
        let reaction = ReactionRow { s: applied.s };
        work.rows.put(Table::Message, &row, &reaction.encode());
    } else {
        work.rows.delete(Table::Message, &row);
    }
    Ok(applied)
}

/// Returns the message at `of`, deleted or not, if the member may see it.
fn target(work: &Work<'_, impl RowsMut>, by: By<'_>, seat: &Seat, of: u64) -> Result<EventRow> {
    match message(work, by, seat, of)? {
        Some(row) if of >= seat.me.floor(&seat.conv) => Ok(row),
        _ => no_message(),
    }
}

/// Returns the message at `of`, deleted or not, and whether it is the member's own: such a one may be deleted although
/// it is from before the member left and came back.
fn deletable(work: &Work<'_, impl RowsMut>, by: By<'_>, seat: &Seat, of: u64) -> Result<(EventRow, bool)> {
    match message(work, by, seat, of)? {
        Some(row) if row.author == *by.user => Ok((row, true)),
        Some(row) if of >= seat.me.floor(&seat.conv) => Ok((row, false)),
        _ => no_message(),
    }
}

/// Returns the message at `of` if it is not gone.
fn message(work: &Work<'_, impl RowsMut>, by: By<'_>, seat: &Seat, of: u64) -> Result<Option<EventRow>> {
    if of < seat.conv.floor() {
        return Ok(None);
    }
    let row = work.event(by.conv, of)?;
    Ok(row.filter(|row| matches!(row.kind, EventKind::Message | EventKind::Tombstone)))
}

fn no_message<T>() -> Result<T> {
    refused(ErrorCode::NotFound, "of names no message of this conversation")
}

/// Stops if the message was deleted.
fn alive(target: &EventRow) -> Result<()> {
    if target.kind == EventKind::Tombstone {
        return refused(ErrorCode::Conflict, "the message was deleted");
    }
    Ok(())
}

/// Takes the words out of the row at `s`.
pub(super) fn blank(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    s: u64,
    row: &EventRow,
    kind: EventKind,
) -> Result<()> {
    let tail = std::str::from_utf8(&row.tail).map_err(|_| corrupt("an event is no text"))?;
    let tail = event::tombstone(tail);
    work.put_event(by.conv, s, kind, row.mn, &row.author, tail);
    Ok(())
}

/// Counts the mention no longer.
pub(super) fn unalert(work: &mut Work<'_, impl RowsMut>, by: By<'_>, of: u64, user: &UserId) -> Result<()> {
    if let Some(mut member) = work.member(by.conv, user)?
        && let Ok(at) = member.mentions.binary_search(&of)
    {
        member.mentions.remove(at);
        work.set_member(by.conv, user, member);
    }
    Ok(())
}

/// Writes the event, and keeps the result under the key.
fn append(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: &Cid,
    seat: Seat,
    kind: EventKind,
    event: impl FnOnce(u64, u64) -> Event,
) -> Result<Applied> {
    let Seat { mut conv, mut me, .. } = seat;
    let ts = tick(work, &conv);
    conv.last_s += 1;
    conv.last_ts = ts;
    let s = conv.last_s;
    let tail = event(s, ts).tail();
    let tail = work.put_event(by.conv, s, kind, conv.last_mn, by.user, tail);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
    work.set_member(by.conv, by.user, me);
    work.set_conv(by.conv, conv);
    let event = Published {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    };
    Ok(Applied {
        s,
        mn: 0,
        ts,
        dup: false,
        events: vec![event],
        effect: Effect::None,
    })
}

/// Acknowledges, under a new key, what is so already: with the place of the event that made it so, 0 if there is none.
fn settled(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: &Cid, seat: Seat, s: u64) -> Result<Applied> {
    let Seat { conv, mut me, .. } = seat;
    // Not the event's: keys are kept by the time at which they were used.
    let ts = tick(work, &conv);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
    work.set_member(by.conv, by.user, me);
    Ok(Applied {
        s,
        ts,
        dup: true,
        ..Applied::silent(Effect::None)
    })
}
