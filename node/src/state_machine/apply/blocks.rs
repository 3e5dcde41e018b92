//! `block` and `unblock`: refusal of direct messages of one user, and of read positions shown to it.
//!
//! The flag that decides is in the shard of the direct conversation, in the member row of the blocked user, so a block
//! takes effect between two messages. That row exists even without the conversation: the first message of a user
//! blocked before is refused too. The shard of the blocking user holds the list, updated through the outbox.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, ErrorCode, UserId};

use super::{CommandScope, Result, forbidden, invalid, of_a_person, refused};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, OutboxId, UserOutcome};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{BlockRow, MemberRow, OutboxChange, VersionedRow};
use crate::state_machine::{keys, rules};

/// Blocks `who` (`on`) or removes the block. Repeating the current state changes nothing.
pub(super) fn block(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    who: &UserId,
    on: bool,
) -> Result<CommandResult> {
    if who == by.user {
        return refused(ErrorCode::BadRequest, "users cannot block themselves");
    }
    // A back end acts by the scope of its key alone, so a block would have no effect.
    of_a_person(who)?;
    if *by.conv != ConversationId::direct(by.user, who) {
        return invalid("a block belongs to the direct conversation of the two");
    }
    // The conversation need not exist: a block before the first message creates the row.
    let target = work.member(by.conv, who)?.unwrap_or_else(MemberRow::non_member);
    // A repeated request must not cost an outbox entry.
    if target.banned == on {
        return Ok(CommandResult::silent(ApplyEffect::None));
    }
    // The positions at the time of the block are copied, because the blocked user sees them unchanged from now on.
    let me = work.member(by.conv, by.user)?;
    let blocked = MemberRow {
        banned: on,
        peer: me.filter(|_| on).map_or((0, 0), |me| (me.delivered, me.read)),
        ..target
    };
    work.set_member(by.conv, who, blocked);
    let change = OutboxChange::Block { who: who.clone(), on };
    let now_ms = work.now_ms;
    work.append_outbox(by.conv, by.user, change, now_ms);
    Ok(CommandResult::silent(ApplyEffect::OutboxAppended))
}

/// Refuses the creation of a direct conversation by a user whom the other one blocks.
pub(super) fn unblocked(work: &mut ApplyContext<'_, impl RowWriter>, by: CommandScope<'_>) -> Result<()> {
    match work.member(by.conv, by.user)? {
        Some(me) if me.banned => Err(forbidden(rules::BLOCKED)),
        _ => Ok(()),
    }
}

/// Writes the row of a user's block list unless a newer version exists. A row without a block is retained, so that a
/// late repetition of an older change does not restore the block.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    who: &UserId,
    on: bool,
    version: OutboxId,
    at_ms: u64,
) -> Result<UserOutcome> {
    let key = keys::block(user, who);
    let known = work.rows.get(ChatTable::UserIndex, &key)?;
    let known = known.map(|row| BlockRow::decode(&row)).transpose()?;
    // Outbox entries may arrive twice or out of order; only a greater version is newer.
    if known.is_none_or(|known| known.version < version) {
        let row = BlockRow { on, version, at_ms };
        work.rows.put(ChatTable::UserIndex, &key, &row.encode());
        let since_ms = on.then_some(at_ms);
        let who = who.clone();
        return Ok(UserOutcome::Blocked { who, since_ms });
    }
    Ok(UserOutcome::Recorded)
}
