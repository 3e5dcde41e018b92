//! Queued webhook messages: written in the transaction of the message, so that no crash separates the two. The owner
//! delivers them and then removes them.
//!
//! The webhook itself is a setting of nodes, but every replica must write the same rows. The owner therefore announces
//! the setting once in the log, before any other proposal, and a message reads the announced value. Webhooks of a
//! conversation are in the log already, with an acknowledgement of their own.

use crate::state_machine::ChatTable;
use protocol::{ClientMessageId, ErrorCode, limits};

use super::{CommandScope, Result, fresh, key, member, refused, tick};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::outcome::{ApplyEffect, CommandResult, OutboxId};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rules::Permission;

/// Adds or removes a webhook name of the conversation, to which every message is delivered. Appends no event.
pub(super) fn subscribe(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    name: &str,
    on: bool,
) -> Result<CommandResult> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    if let Err(why) = limits::hook(name) {
        return refused(ErrorCode::BadRequest, why);
    }
    let member = member(work, by)?;
    member.may(Permission::Set)?;
    let (mut conv, mut me) = (member.conv, member.me);
    // The command appends no event, so `last_ts` stays; this time only dates the dedup row.
    let ts = tick(work, &conv);
    let hooks = &mut conv.hooks;
    match hooks.binary_search_by(|known| known.as_ref().cmp(name)) {
        // A name that is set already falls through to the last arm: repeating it succeeds even at the limit.
        Err(_) if on && hooks.len() >= limits::HOOKS => {
            return refused(
                ErrorCode::Conflict,
                format!("a conversation has at most {} webhooks", limits::HOOKS),
            );
        }
        Err(at) if on => hooks.insert(at, name.into()),
        Ok(at) if !on => {
            hooks.remove(at);
        }
        _ => {}
    }
    work.keep_result(by.conv, by.user, &mut me, cid, (0, 0, ts))?;
    work.set_member(by.conv, by.user, me);
    work.set_conv(by.conv, conv);
    Ok(CommandResult {
        ts,
        ..CommandResult::silent(ApplyEffect::None)
    })
}

/// Records the size limit of conversations whose messages are queued for absent members; 0 disables queueing.
pub(super) fn switch(work: &mut ApplyContext<'_, impl RowWriter>, members: u64) -> Result<()> {
    let mut hooks = work.hooks()?;
    // An owner may announce an unchanged value, which must not cost a write.
    if hooks.members != members {
        hooks.members = members;
        work.set_hooks(hooks);
    }
    Ok(())
}

/// Removes queued messages that were delivered or dropped.
pub(super) fn delivered(work: &mut ApplyContext<'_, impl RowWriter>, ids: &[OutboxId]) -> Result<()> {
    let mut hooks = work.hooks()?;
    for id in ids {
        let key = keys::queued_webhook(*id);
        // A repeated command finds no row; without this check it would lower the count twice.
        if work.rows.get(ChatTable::Webhook, &key)?.is_some() {
            work.rows.delete(ChatTable::Webhook, &key);
            hooks.waiting = hooks.waiting.saturating_sub(1);
        }
    }
    work.set_hooks(hooks);
    Ok(())
}
