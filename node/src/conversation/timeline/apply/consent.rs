//! Whether others may make the user a member, in the user's shard: the block, the wish, and the bounds of a day.

use protocol::{Cid, ConvId, ErrorCode, GroupInvite, Kind, UserId};
use storage::{Error, Order, Table};

use super::super::consent::{AddedRow, Bounds, COUNTS_MS, WishesRow, verdict};
use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect};
use super::super::rows::{BlockRow, IndexRow, Row};
use super::super::rules::Act;
use super::super::work::Work;
use super::membership::absent;
use super::{By, Result, fresh, key, refused, seat};

/// Who wants to add the user.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    pub(super) by: &'a UserId,
    /// The key under which it is to be done: the same key is the same membership.
    pub(super) cid: &'a Cid,
    /// A conversation that both are in, as the shard of the one who adds has it.
    pub(super) shared: Option<&'a ConvId>,
    pub(super) bounds: Bounds,
}

/// Decides whether `asks.by` may make the user a member of the conversation, and counts it if so.
pub(super) fn may_add(work: &mut Work<'_, impl RowsMut>, by: By<'_>, asks: Asks<'_>) -> Result<Applied> {
    let answer = |verdict| {
        Ok(Applied {
            s: verdict,
            ..Applied::silent(Effect::None)
        })
    };
    let block = work.rows.get(Table::UserIndex, &keys::block(by.user, asks.by))?;
    let block = block.map(|row| BlockRow::decode(&row)).transpose()?;
    if block.is_some_and(|block| block.on) {
        return answer(verdict::NO);
    }
    match (wishes(work, by.user)?.group_invite, asks.shared) {
        (GroupInvite::Anyone, _) => {}
        (GroupInvite::SharesConversation, None) => return answer(verdict::SHARED),
        (GroupInvite::SharesConversation, Some(shared)) if is_in(work, by.user, shared)? => {}
        (GroupInvite::SharesConversation | GroupInvite::Nobody, _) => return answer(verdict::NO),
    }
    answer(if count(work, by, asks)? {
        verdict::YES
    } else {
        verdict::NO
    })
}

/// Sets who may make the user a member.
pub(super) fn wish(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    group_invite: GroupInvite,
) -> Result<Applied> {
    let row = WishesRow { group_invite };
    work.rows
        .put(Table::UserIndex, &keys::wishes(by.user), &row.encode());
    Ok(Applied::silent(Effect::None))
}

/// Refuses what those to be added, or one of them, didn't consent to, in the place of the change itself: what would be
/// refused for another reason is refused for that one, and what was done before keeps its result. `who` is invited;
/// nobody: the conversation was to be made.
pub(super) fn not_added(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    who: Option<&UserId>,
    why: &str,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    match who {
        Some(who) => {
            let seat = seat(work, by)?;
            seat.may(Act::Invite)?;
            absent(work, by, who)?;
        }
        None => {
            if let Some(conv) = work.conv(by.conv)?
                && conv.creator == *by.user
            {
                let mut applied = Applied::silent(Effect::None);
                (applied.s, applied.ts, applied.dup) = (conv.last_s, conv.last_ts, true);
                return Ok(applied);
            }
        }
    }
    refused(ErrorCode::Forbidden, why)
}

fn wishes(work: &Work<'_, impl RowsMut>, user: &UserId) -> Result<WishesRow> {
    let row = work.rows.get(Table::UserIndex, &keys::wishes(user))?;
    let row = row.map(|row| WishesRow::decode(&row)).transpose()?;
    Ok(row.unwrap_or_default())
}

/// Whether it is a group that the user is in. Direct conversations don't count, and neither do channels: one begins,
/// or joins, them without asking.
fn is_in(work: &Work<'_, impl RowsMut>, user: &UserId, conv: &ConvId) -> Result<bool> {
    if conv.kind() != Some(Kind::Group) {
        return Ok(false);
    }
    let row = work.rows.get(Table::UserIndex, &keys::index(user, conv))?;
    let row = row.map(|row| IndexRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| row.member))
}

/// Counts the membership, unless there were too many within 24 hours: then `false`. What is older is forgotten here, so
/// there are never more rows than the bound, and one.
fn count(work: &mut Work<'_, impl RowsMut>, by: By<'_>, asks: Asks<'_>) -> Result<bool> {
    let Bounds { by_one, by_all } = asks.bounds;
    let key = keys::added(by.user, asks.by, by.conv, asks.cid);
    let now_ms = work.now_ms;
    if by_one == 0 && by_all == 0 {
        return Ok(true);
    }
    let counts = |row: &[u8]| Ok::<_, Error>(AddedRow::decode(row)?.at_ms.saturating_add(COUNTS_MS) > now_ms);
    // The same key is the same membership.
    let known = work.rows.get(Table::UserIndex, &key)?;
    if known.map(|row| counts(&row)).transpose()?.unwrap_or(false) {
        return Ok(true);
    }
    let mine = keys::added_by(by.user, asks.by);
    let (start, end) = match by_all {
        0 => keys::added_by_one(by.user, asks.by),
        _ => keys::added_by_anybody(by.user),
    };
    let (mut one, mut all) = (0u32, 0u32);
    for (key, row) in work
        .rows
        .scan(Table::UserIndex, &start..&end, Order::Ascending, usize::MAX)?
    {
        if !counts(&row)? {
            work.rows.delete(Table::UserIndex, &key);
            continue;
        }
        all += 1;
        one += u32::from(key.starts_with(&mine));
    }
    if by_one > 0 && one >= by_one || by_all > 0 && all >= by_all {
        return Ok(false);
    }
    let row = AddedRow { at_ms: now_ms };
    work.rows.put(Table::UserIndex, &key, &row.encode());
    Ok(true)
}
