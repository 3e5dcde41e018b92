//! `send`: appends a message. This is the hot path.
//!
//! Path of a message: step 9 of 13.

use std::collections::BTreeSet;

use protocol::event::MessageParts;
use protocol::{ClientMessageId, ErrorCode, UserId, limits};

use super::{
    CommandScope, MemberContext, Result, activity, create, fresh, invalid, key, member, refused, tick,
};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::{CommandResult, EventEnvelope};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{EventKind, MENTIONS_RETAINED};
use crate::state_machine::rules::Permission;

/// Message as the client sent it.
pub(super) struct MessageDraft<'a> {
    pub(super) direct: Option<&'a UserId>,
    pub(super) body: &'a str,
    pub(super) reply_to: Option<u64>,
    pub(super) mentions: &'a [UserId],
}

/// Appends a message, and creates the direct conversation first if it does not exist.
pub(super) fn send(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    message: &MessageDraft<'_>,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    // A duplicate returns its first result before any check, so that an acknowledged message is never refused on retry.
    fresh(work, by, cid)?;
    check(message.body, message.mentions)?;
    let mut events = Vec::new();
    if let Some(peer) = message.direct
        && work.conv(by.conv)?.is_none()
    {
        if message.reply_to.is_some() {
            return refused(
                ErrorCode::NotFound,
                "reply_to is not a message of this conversation",
            );
        }
        events = create::direct(work, by, peer)?;
    }
    // Read after the creation, which may just have written both rows.
    let member = member(work, by)?;
    member.may(Permission::Send)?;
    let MemberContext { mut conv, mut me, .. } = member;
    if let Some(s) = message.reply_to {
        // An event before the member's first visible one must not be revealed, so it is refused like a missing one.
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
                    "reply_to is not a message of this conversation",
                );
            }
        }
    }

    // Everything is checked: from here on the command only writes, so no refusal leaves half a message.
    let ts = tick(work, &conv);
    conv.last_s += 1;
    conv.last_mn += 1;
    conv.last_ts = ts;
    (conv.message_s, conv.message_ts) = (conv.last_s, ts);
    let (s, mn) = (conv.last_s, conv.last_mn);
    let parts = MessageParts {
        conversation: by.conv,
        seq: s,
        message_number: mn,
        timestamp_ms: ts,
        user: by.user,
        client_message_id: cid,
        body: message.body,
        reply_to: message.reply_to,
        mentions: message.mentions,
        deleted: false,
    };
    let tail = work.put_event(by.conv, s, EventKind::Message, mn, by.user, parts.tail());
    // The queued webhook is written in the message's own transaction, so that no crash separates the two.
    let hooks = work.hooks()?;
    if conv.members <= hooks.members || !conv.hooks.is_empty() {
        work.intend(by.conv, s, hooks);
    }
    let effect = activity::watch(work, by.conv, &mut conv);
    // The author has read the own message; otherwise it would count as unread.
    me.read_to(s, mn);
    work.keep_result(by.conv, by.user, &mut me, cid, (s, mn, ts))?;
    work.set_member(by.conv, by.user, me);
    work.set_conv(by.conv, conv);
    // After `set_member`: both write member rows, and an older copy of the author's would undo a mention.
    if !message.mentions.is_empty() {
        alert(work, by, s, message.mentions)?;
    }
    events.push(EventEnvelope {
        conv: by.conv.clone(),
        seq: s,
        tail,
        removes: None,
        adds: None,
        skip: by.skip,
        only: None,
    });
    Ok(CommandResult {
        seq: Some(s),
        mn: Some(mn),
        ts,
        dup: false,
        events,
        effect,
    })
}

/// Refuses a body or mentions beyond the protocol's limits. These are constants, so all replicas agree whatever the
/// session checked.
pub(super) fn check(body: &str, mentions: &[UserId]) -> Result<()> {
    if body.len() > limits::BODY_BYTES {
        return refused(
            ErrorCode::TooLarge,
            format!("b exceeds {} bytes", limits::BODY_BYTES),
        );
    }
    if !body.starts_with('{') || !body.ends_with('}') {
        return invalid("the body is not a JSON object");
    }
    if mentions.len() > limits::MENTIONS {
        return refused(
            ErrorCode::BadRequest,
            format!("mentions has more than {} entries", limits::MENTIONS),
        );
    }
    Ok(())
}

/// Adds the message at `s` to the unread mentions of each mentioned member that has not read it.
pub(super) fn alert(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
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
            // The list is part of the member row, which each message of the member rewrites: its length must be
            // bounded.
            if member.mentions.len() > MENTIONS_RETAINED {
                member.mentions.remove(0);
            }
            work.set_member(by.conv, user, member);
        }
    }
    Ok(())
}
