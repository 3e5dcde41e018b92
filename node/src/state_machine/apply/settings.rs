//! `set`: title, history and custom data are shared and append a `meta` event; mute and pin are the member's own and append none.

use protocol::event::MetadataEvent;
use protocol::response::{ConversationSnapshot, DirectPeer, LastEvent, UserCards};
use protocol::{ClientMessageId, CustomData, ErrorCode, Event, HistoryVisibility, limits};

use super::{CommandScope, MemberContext, Result, create, fresh, invalid, key, member, refused, tick};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, EventEnvelope};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, EventKind, MemberRow, corrupt};
use crate::state_machine::rules::Permission;
use crate::state_machine::{custom_data, keys};

/// Requested changes; `None` leaves a setting unchanged.
pub(super) struct SettingsChange<'a> {
    pub(super) title: Option<&'a str>,
    pub(super) history: Option<HistoryVisibility>,
    pub(super) muted: Option<bool>,
    pub(super) pinned: Option<bool>,
    pub(super) data: Option<&'a str>,
}

/// Changes the title, the history visibility and the member's own settings.
pub(super) fn set(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    changes: &SettingsChange<'_>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    let member = member(work, by)?;
    if changes
        .title
        .is_some_and(|title| title.len() > limits::TITLE_BYTES)
    {
        return refused(
            ErrorCode::BadRequest,
            format!("title exceeds {} bytes", limits::TITLE_BYTES),
        );
    }
    create::fit(changes.title)?;
    if !custom_data::fits(changes.data) {
        return invalid("the custom data is too large");
    }
    // Every member may change its own settings; only the shared ones need a permission.
    let shared = changes.title.is_some() || changes.history.is_some() || changes.data.is_some();
    if shared {
        member.may(Permission::Set)?;
    }
    let MemberContext {
        mut conv,
        mut me,
        role,
    } = member;
    let mut events = Vec::with_capacity(2);
    let mut applied = CommandResult {
        ts: tick(work, &conv),
        ..CommandResult::silent(ApplyEffect::None)
    };
    if shared {
        let event = announce(work, by, &mut conv, changes)?;
        applied.seq = Some(event.seq);
        events.push(event);
        // Cloned, because the view below has to show the new title.
        work.set_conv(by.conv, conv.clone());
    }
    let own = changes.muted.is_some() || changes.pinned.is_some();
    me.muted = changes.muted.unwrap_or(me.muted);
    me.pinned = changes.pinned.unwrap_or(me.pinned);
    // Own settings are in no log: the other sessions of the user learn of them by this event without a position.
    if own {
        let view = view(work, by, &conv, &me, role)?;
        events.push(EventEnvelope {
            conv: by.conv.clone(),
            seq: 0,
            tail: Event::Conv(view).tail().into(),
            removes: None,
            adds: None,
            skip: by.skip,
            only: Some(by.user.clone()),
        });
    }
    work.keep_result(
        by.conv,
        by.user,
        &mut me,
        cid,
        (applied.seq.unwrap_or(0), 0, applied.ts),
    )?;
    work.set_member(by.conv, by.user, me);
    Ok(CommandResult { events, ..applied })
}

/// Appends the `meta` event. The caller writes the conversation row.
fn announce(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &mut ConvRow,
    changes: &SettingsChange<'_>,
) -> Result<EventEnvelope> {
    if let Some(data) = changes.data {
        custom_data::write(work.rows, &keys::conversation_data(by.conv), data);
    }
    if let Some(title) = changes.title {
        conv.title = (!title.is_empty()).then(|| title.into());
    }
    conv.history = changes.history.unwrap_or(conv.history);
    conv.last_ts = tick(work, conv);
    conv.last_s += 1;
    let (s, ts) = (conv.last_s, conv.last_ts);
    let event = Event::Meta(MetadataEvent {
        conversation: by.conv.clone(),
        seq: s,
        timestamp_ms: ts,
        user: by.user.clone(),
        title: changes.title.map(str::to_owned),
        history: changes.history,
        data: custom_data::patch(changes.data)?,
    });
    let tail = work.put_event(by.conv, s, EventKind::Meta, conv.last_mn, by.user, event.tail());
    Ok(EventEnvelope {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        // The originating session is not excluded: the event also brings it the new position in the log.
        skip: 0,
        only: None,
    })
}

/// Returns the conversation as the member sees it after the change.
fn view(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &ConvRow,
    me: &MemberRow,
    role: protocol::Role,
) -> Result<ConversationSnapshot> {
    let peer = match conv.peer_of(by.user) {
        Some(peer) => work.member(by.conv, peer)?.map(|row| {
            let (delivered, read) = me.sees(&row);
            let u = peer.clone();
            DirectPeer {
                user: u,
                delivered,
                read,
            }
        }),
        None => None,
    };
    let data = custom_data::read(work.rows, &keys::conversation_data(by.conv))?;
    let data = data
        .map(CustomData::new)
        .transpose()
        .map_err(|why| corrupt(&why))?;
    Ok(ConversationSnapshot {
        conversation: by.conv.clone(),
        kind: conv.kind,
        title: conv.title.as_deref().map(str::to_owned),
        role: Some(role),
        last: LastEvent {
            seq: conv.last_s,
            message_number: conv.last_mn,
            timestamp_ms: conv.last_ts,
        },
        unread: conv.unread(work.rows, by.conv, me.read_mn)?,
        mentions: me.mentioned(conv),
        read: me.read,
        delivered: me.delivered,
        muted: me.muted,
        pinned: me.pinned,
        history: Some(conv.history),
        members: Some(conv.members),
        peer,
        events: None,
        gap: false,
        data,
        users: UserCards::new(),
    })
}
