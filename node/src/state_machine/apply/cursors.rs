//! `read` and `recv`: cursors that only move forward, with `read` ≤ `delivered` ≤ last position. They append no event.

use super::{CommandScope, MemberContext, Result, member};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::{ApplyEffect, CommandResult};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{ConvRow, corrupt};

/// Moves the read cursor to `s`, at most to the last event.
pub(super) fn read(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    s: u64,
) -> Result<CommandResult> {
    let MemberContext { conv, mut me, .. } = member(work, by)?;
    // A client may name a position beyond the log; a cursor must never be ahead of the last event.
    let s = s.min(conv.last_s);
    if s <= me.read {
        return Ok(CommandResult::silent(ApplyEffect::None));
    }
    let mn = if s == conv.last_s {
        conv.last_mn
    } else if s < conv.floor() {
        // The event is trimmed, so its ordinal is lost; trimmed messages never count as unread.
        conv.gone_mn
    } else {
        work.event(by.conv, s)?
            .ok_or_else(|| corrupt("a gap in the log"))?
            .mn
    };
    // `read_to` also moves the delivered cursor, which keeps `read` ≤ `delivered`.
    me.read_to(s, mn);
    let effect = ApplyEffect::Cursors {
        delivered: me.delivered,
        read: me.read,
        read_moved: true,
        members: visible_to(work, by, &conv)?,
    };
    work.set_member(by.conv, by.user, me);
    Ok(CommandResult::silent(effect))
}

/// Moves the delivered cursor to `s`, at most to the last event.
pub(super) fn delivered(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    s: u64,
) -> Result<CommandResult> {
    let MemberContext { conv, mut me, .. } = member(work, by)?;
    let s = s.min(conv.last_s);
    if s <= me.delivered {
        return Ok(CommandResult::silent(ApplyEffect::None));
    }
    me.delivered = s;
    let effect = ApplyEffect::Cursors {
        delivered: s,
        read: me.read,
        read_moved: false,
        members: visible_to(work, by, &conv)?,
    };
    work.set_member(by.conv, by.user, me);
    Ok(CommandResult::silent(effect))
}

/// Returns the number of members, by which the owner decides whether to fan out receipts. Returns `u64::MAX`, which
/// suppresses them, in a direct conversation whose peer the user blocks.
fn visible_to(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    conv: &ConvRow,
) -> Result<u64> {
    if let Some(peer) = conv.peer_of(by.user)
        && work.member(by.conv, peer)?.is_some_and(|peer| peer.banned)
    {
        return Ok(u64::MAX);
    }
    Ok(conv.members)
}
