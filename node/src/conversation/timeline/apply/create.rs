//! `create`, in two steps, and direct conversations made at need.
//!
//! The key of a `create` is unique per user, and the conversation that it makes may live in any shard. So the user's
//! shard first fixes which id the key stands for, and the conversation's shard then makes it, as often as it is told.

use std::collections::BTreeSet;

use protocol::{Cid, ConvId, ErrorCode, History, Kind, Role, UserId, Why, limits, text};
use storage::Table;

use super::super::dedup::Dedups;
use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, Published};
use super::super::rows::{ConvRow, DedupRow, Later, Row};
use super::super::rules;
use super::super::work::Work;
use super::membership::{Change, admit};
use super::{By, Result, Stop, blocks, fresh, key, not_member, refused};

/// Fixes the conversation that a key stands for.
pub(super) fn reserve(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: Option<&Cid>) -> Result<Applied> {
    let cid = key(cid)?;
    let scope = keys::dedup_scope(None, by.user);
    if let Some(row) = work.rows.get(Table::Dedup, &keys::dedup(&scope, cid))? {
        let row = DedupRow::decode(&row)?;
        let conv = row.conv.unwrap_or_else(|| by.conv.clone());
        return Ok(Applied {
            ts: row.ts,
            dup: true,
            ..Applied::silent(Effect::Reserved(conv))
        });
    }
    let counter = &scope[..scope.len() - 1];
    let mut dedups = match work.rows.get(Table::Dedup, counter)? {
        Some(row) => Dedups::decode(&row)?,
        None => Dedups::default(),
    };
    let ts = work.now_ms;
    let row = DedupRow {
        k: 0,
        ts,
        s: 0,
        mn: 0,
        conv: Some(by.conv.clone()),
    };
    dedups.add(work.rows, &scope, cid, row, work.reached_ms)?;
    work.rows.put(Table::Dedup, counter, &dedups.encode());
    Ok(Applied {
        ts,
        ..Applied::silent(Effect::Reserved(by.conv.clone()))
    })
}

/// Makes a conversation with its initial members.
pub(super) fn create(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    kind: Kind,
    members: &[UserId],
    title: Option<&str>,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let (others, peer) = check(by, kind, members, title)?;
    if let Some(conv) = work.conv(by.conv)? {
        // A repetition whose key was forgotten, or the other side of a direct conversation.
        let mine = conv.creator == *by.user || conv.peer.as_ref() == Some(by.user);
        if !mine {
            return not_member();
        }
        let mut applied = Applied::silent(Effect::None);
        (applied.s, applied.ts, applied.dup) = (conv.last_s, conv.last_ts, true);
        return Ok(applied);
    }
    blocks::unblocked(work, by)?;
    let events = found(work, by, kind, (&others, peer), title)?;
    let (s, ts) = (events.len() as u64, work.now_ms);
    if let Some(mut me) = work.member(by.conv, by.user)? {
        work.keep_result(by.conv, by.user, &mut me, cid, (s, 0, ts))?;
        work.set_member(by.conv, by.user, me);
    }
    Ok(Applied {
        s,
        mn: 0,
        ts,
        dup: false,
        events,
        effect: Effect::None,
    })
}

/// Makes the direct conversation that a `send` needs.
pub(super) fn direct(work: &mut Work<'_, impl RowsMut>, by: By<'_>, peer: &UserId) -> Result<Vec<Published>> {
    let (others, peer) = check(by, Kind::Direct, std::slice::from_ref(peer), None)?;
    blocks::unblocked(work, by)?;
    found(work, by, Kind::Direct, (&others, peer), None)
}

/// Returns the other initial members, each once, in the order given, and with whom a direct conversation is: it may be
/// with oneself, and has then no other member.
fn check<'a>(
    by: By<'_>,
    kind: Kind,
    members: &'a [UserId],
    title: Option<&str>,
) -> Result<(Vec<&'a UserId>, Option<&'a UserId>)> {
    if by.conv.kind() != Some(kind) {
        return Err(Stop::Bad("the conversation's id is of another kind"));
    }
    if members.len() > limits::MEMBERS_AT_CREATE
        || title.is_some_and(|title| title.len() > limits::TITLE_BYTES)
    {
        return refused(ErrorCode::BadRequest, "too many members, or too long a title");
    }
    fit(title)?;
    let mut seen = BTreeSet::from([by.user]);
    let others: Vec<_> = members.iter().filter(|user| seen.insert(user)).collect();
    let mut with = None;
    if kind == Kind::Direct {
        let peer = match (&others[..], members) {
            ([peer], _) => *peer,
            ([], [oneself, ..]) => oneself,
            _ => {
                return refused(
                    ErrorCode::BadRequest,
                    "a direct conversation is with exactly one user",
                );
            }
        };
        if *by.conv != ConvId::direct(by.user, peer) {
            return refused(
                ErrorCode::BadRequest,
                "a direct conversation is between the user and the one named",
            );
        }
        if title.is_some() {
            return refused(ErrorCode::BadRequest, "a direct conversation has no title");
        }
        with = Some(peer);
    }
    Ok((others, with))
}

/// Refuses a title that is not fit to be shown to others.
pub(super) fn fit(title: Option<&str>) -> Result<()> {
    match title.filter(|title| !title.is_empty()).map(text::shown) {
        Some(Err(why)) => refused(ErrorCode::BadRequest, format!("title must have {why}")),
        _ => Ok(()),
    }
}

/// Writes the conversation, and one `member` event for each initial member, the creator first.
fn found(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    kind: Kind,
    (others, peer): (&[&UserId], Option<&UserId>),
    title: Option<&str>,
) -> Result<Vec<Published>> {
    let now_ms = work.now_ms;
    let mut conv = ConvRow {
        kind,
        title: title.map(Into::into),
        creator: by.user.clone(),
        peer: peer.cloned(),
        created_ms: now_ms,
        last_s: 0,
        last_mn: 0,
        last_ts: now_ms,
        message_s: 0,
        message_ts: 0,
        watched: false,
        members: 0,
        owners: 0,
        history: if kind == Kind::Channel {
            History::All
        } else {
            History::Joined
        },
        later: Later::default(),
    };
    let creator_role = if kind == Kind::Direct {
        Role::Member
    } else {
        Role::Owner
    };
    let roles = std::iter::once((by.user, creator_role))
        .chain(others.iter().map(|user| (*user, rules::role_of_new(kind))));
    let arrived = others.len() as u64 + 1;
    let mut events = Vec::with_capacity(others.len() + 1);
    for (who, role) in roles {
        let change = Change {
            who,
            role,
            why: Why::Create,
            // All came at once: each is a member from the first event on …
            since: Some(1),
        };
        events.push(admit(work, by, &mut conv, change)?);
        // … and has seen the last of these.
        if let Some(mut member) = work.member(by.conv, who)? {
            member.read_to(arrived, 0);
            work.set_member(by.conv, who, member);
        }
    }
    work.set_conv(by.conv, conv);
    Ok(events)
}
