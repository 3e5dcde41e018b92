//! `set`: title and settings, which are everybody's and make a `meta` event; mute and pin, which are the member's own
//! and make none.

use protocol::answer::{Conv, Last, Peer};
use protocol::event::Meta;
use protocol::{Cid, ErrorCode, Event, History, limits};

use super::super::door::RowsMut;
use super::super::outcome::{Applied, Effect, Published};
use super::super::rows::{ConvRow, EventKind, MemberRow};
use super::super::rules::Act;
use super::super::work::Work;
use super::{By, Result, Seat, create, fresh, key, refused, seat, tick};

/// What is to be changed.
pub(super) struct Changes<'a> {
    pub(super) title: Option<&'a str>,
    pub(super) history: Option<History>,
    pub(super) muted: Option<bool>,
    pub(super) pinned: Option<bool>,
}

/// Changes title, settings and what is the member's own.
pub(super) fn set(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    changes: &Changes<'_>,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let seat = seat(work, by)?;
    if changes
        .title
        .is_some_and(|title| title.len() > limits::TITLE_BYTES)
    {
        return refused(
            ErrorCode::BadRequest,
            format!("title is over {} bytes", limits::TITLE_BYTES),
        );
    }
    create::fit(changes.title)?;
    let shared = changes.title.is_some() || changes.history.is_some();
    if shared {
        seat.may(Act::Set)?;
    }
    let Seat {
        mut conv,
        mut me,
        role,
    } = seat;
    let mut events = Vec::with_capacity(2);
    let mut applied = Applied {
        ts: tick(work, &conv),
        ..Applied::silent(Effect::None)
    };
    if shared {
        let event = announce(work, by, &mut conv, changes);
        applied.s = event.seq;
        events.push(event);
        work.set_conv(by.conv, conv.clone());
    }
    let own = changes.muted.is_some() || changes.pinned.is_some();
    me.muted = changes.muted.unwrap_or(me.muted);
    me.pinned = changes.pinned.unwrap_or(me.pinned);
    if own {
        let view = view(work, by, &conv, &me, role)?;
        events.push(Published {
            conv: by.conv.clone(),
            seq: 0,
            tail: Event::Conv(view).tail().into(),
            removes: None,
            adds: None,
            skip: by.skip,
            only: Some(by.user.clone()),
        });
    }
    work.keep_result(by.conv, by.user, &mut me, cid, (applied.s, 0, applied.ts))?;
    work.set_member(by.conv, by.user, me);
    Ok(Applied { events, ..applied })
}

/// Writes the `meta` event. The caller writes the conversation's row.
fn announce(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &mut ConvRow,
    changes: &Changes<'_>,
) -> Published {
    if let Some(title) = changes.title {
        conv.title = (!title.is_empty()).then(|| title.into());
    }
    conv.history = changes.history.unwrap_or(conv.history);
    conv.last_ts = tick(work, conv);
    conv.last_s += 1;
    let (s, ts) = (conv.last_s, conv.last_ts);
    let event = Event::Meta(Meta {
        c: by.conv.clone(),
        s,
        ts,
        u: by.user.clone(),
        title: changes.title.map(str::to_owned),
        history: changes.history,
    });
    let tail = work.put_event(by.conv, s, EventKind::Meta, conv.last_mn, by.user, event.tail());
    Published {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        // The session that doesn't want to hear of its own wishes does want to know the place in the log.
        skip: 0,
        only: None,
    }
}

/// Returns the conversation as the member sees it from now on.
fn view(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    conv: &ConvRow,
    me: &MemberRow,
    role: protocol::Role,
) -> Result<Conv> {
    let peer = match conv.peer_of(by.user) {
        Some(peer) => work.member(by.conv, peer)?.map(|row| {
            let (delivered, read) = me.sees(&row);
            let u = peer.clone();
            Peer { u, delivered, read }
        }),
        None => None,
    };
    Ok(Conv {
        c: by.conv.clone(),
        kind: conv.kind,
        title: conv.title.as_deref().map(str::to_owned),
        role: Some(role),
        last: Last {
            s: conv.last_s,
            mn: conv.last_mn,
            ts: conv.last_ts,
        },
        read: me.read,
        delivered: me.delivered,
        muted: me.muted,
        pinned: me.pinned,
        history: Some(conv.history),
        members: Some(conv.members),
        peer,
        events: None,
        gap: false,
    })
}
