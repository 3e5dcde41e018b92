//! `block` and `unblock`: whose direct messages a user accepts, and to whom the user shows there how far it has come.
//!
//! The truth is in the shard of the direct conversation, in the row of the one who is blocked, so that a block takes
//! effect between two messages. That row is there even if the conversation isn't: the first message of one who was
//! blocked before is refused too. The blocker's own shard keeps the list, told through the outbox.

use protocol::{ConvId, ErrorCode, UserId};
use storage::Table;

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, OutboxId};
use super::super::rows::{BlockRow, MemberRow, News, Row};
use super::super::rules;
use super::super::work::Work;
use super::{By, Result, Stop, forbidden, refused};

/// Blocks `who`, or no longer.
pub(super) fn block(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    who: &UserId,
    on: bool,
) -> Result<Applied> {
    if who == by.user {
        return refused(ErrorCode::BadRequest, "nobody blocks themselves");
    }
    if *by.conv != ConvId::direct(by.user, who) {
        return Err(Stop::Bad("a block belongs to the direct conversation of the two"));
    }
    let target = work.member(by.conv, who)?.unwrap_or_else(MemberRow::stranger);
    if target.barred == on {
        return Ok(Applied::silent(Effect::None));
    }
    let me = work.member(by.conv, by.user)?;
    let barred = MemberRow {
        barred: on,
        peer: me.filter(|_| on).map_or((0, 0), |me| (me.delivered, me.read)),
        ..target
    };
    work.set_member(by.conv, who, barred);
    let news = News::Block { who: who.clone(), on };
    let now_ms = work.now_ms;
    work.tell_user(by.conv, by.user, news, now_ms);
    Ok(Applied::silent(Effect::Told))
}

/// Refuses to make a direct conversation with one who has blocked the user.
pub(super) fn unblocked(work: &mut Work<'_, impl RowsMut>, by: By<'_>) -> Result<()> {
    match work.member(by.conv, by.user)? {
        Some(me) if me.barred => Err(forbidden(rules::BLOCKED)),
        _ => Ok(()),
    }
}

/// Writes the row of a user's list unless a newer one is there. A row that says "no block" stays, so that a late
/// repetition of an older change doesn't bring the block back.
pub(super) fn put(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    who: &UserId,
    on: bool,
    version: OutboxId,
    at_ms: u64,
) -> Result<Applied> {
    let key = keys::block(by.user, who);
    let known = work.rows.get(Table::UserIndex, &key)?;
    let known = known.map(|row| BlockRow::decode(&row)).transpose()?;
    if known.is_none_or(|known| known.version < version) {
        let row = BlockRow { on, version, at_ms };
        work.rows.put(Table::UserIndex, &key, &row.encode());
        let since_ms = on.then_some(at_ms);
        let who = who.clone();
        return Ok(Applied::silent(Effect::Barred { who, since_ms }));
    }
    Ok(Applied::silent(Effect::None))
}
