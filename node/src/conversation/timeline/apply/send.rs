//! `send`: the hot path.

use std::collections::BTreeSet;

use protocol::event::MsgParts;
use protocol::{Cid, ErrorCode, UserId, limits};

use super::super::door::RowsMut;
use super::super::outcome::{Applied, Published};
use super::super::rows::{EventKind, MENTIONS_KEPT};
use super::super::rules::Act;
use super::super::work::Work;
use super::{By, Result, Seat, Stop, activity, create, fresh, key, refused, seat, tick};

/// What is sent.
pub(super) struct Message<'a> {
    pub(super) direct: Option<&'a UserId>,
    pub(super) body: &'a str,
    pub(super) reply_to: Option<u64>,
    pub(super) mentions: &'a [UserId],
}

/// Appends a message, after making the direct conversation if it isn't there.
pub(super) fn send(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    message: &Message<'_>,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    check(message.body, message.mentions)?;
    let mut events = Vec::new();
    if let Some(peer) = message.direct
        && work.conv(by.conv)?.is_none()
    {
        if message.reply_to.is_some() {
            return refused(
                ErrorCode::NotFound,
                "reply_to names no message of this conversation",
            );
        }
        events = create::direct(work, by, peer)?;
    }
    let seat = seat(work, by)?;
    seat.may(Act::Send)?;
    let Seat { mut conv, mut me, .. } = seat;
    if let Some(s) = message.reply_to {
        let target = if s >= me.floor(&conv) {
            work.event(by.conv, s)?
        } else {
            None
        };
        match target.map(|target| target.kind) {
            Some(EventKind::Message) => {}
            Some(EventKind::Tombstone) => {
                return refused(ErrorCode::Conflict, "the message of reply_to was deleted");
            }
            _ => {
                return refused(
                    ErrorCode::NotFound,
                    "reply_to names no message of this conversation",
                );
            }
        }
    }

    let ts = tick(work, &conv);
    conv.last_s += 1;
    conv.last_mn += 1;
    conv.last_ts = ts;
    (conv.message_s, conv.message_ts) = (conv.last_s, ts);
    let (s, mn) = (conv.last_s, conv.last_mn);
    let parts = MsgParts {
        c: by.conv,
        s,
        mn,
        ts,
        u: by.user,
        cid,
        b: message.body,
        reply_to: message.reply_to,
        mentions: message.mentions,
        deleted: false,
    };
    let tail = work.put_event(by.conv, s, EventKind::Message, mn, by.user, parts.tail());
    let hooks = work.hooks()?;
    if conv.members <= hooks.members || !conv.later.hooks.is_empty() {
        work.intend(by.conv, s, hooks);
    }
    let effect = activity::watch(work, by.conv, &mut conv);
    me.read_to(s, mn);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, mn, ts))?;
    work.set_member(by.conv, by.user, me);
    work.set_conv(by.conv, conv);
    if !message.mentions.is_empty() {
        alert(work, by, s, message.mentions)?;
    }
    events.push(Published {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    });
    Ok(Applied {
        s,
        mn,
        ts,
        dup: false,
        events,
        effect,
    })
}

/// Refuses what the session should have refused, against constants on which all replicas agree.
pub(super) fn check(body: &str, mentions: &[UserId]) -> Result<()> {
    if body.len() > limits::BODY_BYTES {
        return refused(
            ErrorCode::TooLarge,
            format!("b is over {} bytes", limits::BODY_BYTES),
        );
    }
    if !body.starts_with('{') || !body.ends_with('}') {
        return Err(Stop::Bad("the body is no JSON object"));
    }
    if mentions.len() > limits::MENTIONS {
        return refused(
            ErrorCode::BadRequest,
            format!("mentions has more than {} entries", limits::MENTIONS),
        );
    }
    Ok(())
}

/// Counts the message at `s` for each member that it mentions and that has not read it.
pub(super) fn alert(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    s: u64,
    mentions: &[UserId],
) -> Result<()> {
    for user in mentions.iter().collect::<BTreeSet<_>>() {
        if user == by.user {
            continue;
        }
        if let Some(mut member) = work.member(by.conv, user)?
            && member.role.is_some()
            && member.read < s
            && let Err(at) = member.mentions.binary_search(&s)
        {
            member.mentions.insert(at, s);
            if member.mentions.len() > MENTIONS_KEPT {
                member.mentions.remove(0);
            }
            work.set_member(by.conv, user, member);
        }
    }
    Ok(())
}
