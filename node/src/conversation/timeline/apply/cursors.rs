//! `read` and `recv`: cursors that only move forward, `read` ≤ `delivered` ≤ last. They make no event.

use super::super::door::RowsMut;
use super::super::outcome::{Applied, Effect};
use super::super::rows::{ConvRow, corrupt};
use super::super::work::Work;
use super::{By, Result, Seat, seat};

/// Moves the read cursor.
pub(super) fn read(work: &mut Work<'_, impl RowsMut>, by: By<'_>, s: u64) -> Result<Applied> {
    let Seat { conv, mut me, .. } = seat(work, by)?;
    let s = s.min(conv.last_s);
    if s <= me.read {
        return Ok(Applied::silent(Effect::None));
    }
    let mn = if s == conv.last_s {
        conv.last_mn
    } else if s < conv.floor() {
        // What was read is gone, and gone messages are never unread.
        conv.later.gone_mn
    } else {
        work.event(by.conv, s)?
            .ok_or_else(|| corrupt("a hole in the log"))?
            .mn
    };
    me.read_to(s, mn);
    let effect = Effect::Cursors {
        delivered: me.delivered,
        read: me.read,
        read_moved: true,
        members: shown_to(work, by, &conv)?,
    };
    work.set_member(by.conv, by.user, me);
    Ok(Applied::silent(effect))
}

/// Moves the delivered cursor.
pub(super) fn delivered(work: &mut Work<'_, impl RowsMut>, by: By<'_>, s: u64) -> Result<Applied> {
    let Seat { conv, mut me, .. } = seat(work, by)?;
    let s = s.min(conv.last_s);
    if s <= me.delivered {
        return Ok(Applied::silent(Effect::None));
    }
    me.delivered = s;
    let effect = Effect::Cursors {
        delivered: s,
        read: me.read,
        read_moved: false,
        members: shown_to(work, by, &conv)?,
    };
    work.set_member(by.conv, by.user, me);
    Ok(Applied::silent(effect))
}

/// Returns the number of members, by which it is decided whether the others are told; in a direct conversation with one
/// whom the user blocks the greatest number there is, so that nobody is.
fn shown_to(work: &mut Work<'_, impl RowsMut>, by: By<'_>, conv: &ConvRow) -> Result<u64> {
    if let Some(peer) = conv.peer_of(by.user)
        && work.member(by.conv, peer)?.is_some_and(|peer| peer.barred)
    {
        return Ok(u64::MAX);
    }
    Ok(conv.members)
}
