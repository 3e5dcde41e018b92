//! What the hook is to be told: an intent is written with the message, in the same transaction, so that no crash can
//! separate the two; the owner tells it and then removes it.
//!
//! Whether there is a hook is a setting of nodes, and what is written must be the same on every replica: so the owner
//! says it once, in the log, before anything else that it proposes, and a message looks at what was said. A conversation
//! with hooks of its own needs no such word: that is in the log already, with an acknowledgement.

use protocol::{Cid, ErrorCode, limits};
use storage::Table;

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, OutboxId};
use super::super::rules::Act;
use super::super::work::Work;
use super::{By, Result, fresh, key, refused, seat, tick};

/// Has the hook told of every message of the conversation under a name, or no longer. Makes no event.
pub(super) fn subscribe(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    cid: Option<&Cid>,
    name: &str,
    on: bool,
) -> Result<Applied> {
    let cid = key(cid)?;
    fresh(work, by, cid)?;
    if let Err(why) = limits::hook(name) {
        return refused(ErrorCode::BadRequest, why);
    }
    let seat = seat(work, by)?;
    seat.may(Act::Set)?;
    let (mut conv, mut me) = (seat.conv, seat.me);
    let ts = tick(work, &conv);
    let hooks = &mut conv.later.hooks;
    match hooks.binary_search_by(|known| known.as_ref().cmp(name)) {
        Err(_) if on && hooks.len() >= limits::HOOKS => {
            return refused(
                ErrorCode::Conflict,
                format!("a conversation has at most {} hooks", limits::HOOKS),
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
    Ok(Applied {
        ts,
        ..Applied::silent(Effect::None)
    })
}

/// Says whether messages are told from now on, and up to which size of conversations.
pub(super) fn switch(work: &mut Work<'_, impl RowsMut>, members: u64) -> Result<Applied> {
    let mut hooks = work.hooks()?;
    if hooks.members != members {
        hooks.members = members;
        work.set_hooks(hooks);
    }
    Ok(Applied::silent(Effect::None))
}

/// Removes what was told, or is given up.
pub(super) fn told(work: &mut Work<'_, impl RowsMut>, ids: &[OutboxId]) -> Result<Applied> {
    let mut hooks = work.hooks()?;
    for id in ids {
        let key = keys::intent(*id);
        if work.rows.get(Table::Outbox, &key)?.is_some() {
            work.rows.delete(Table::Outbox, &key);
            hooks.waiting = hooks.waiting.saturating_sub(1);
        }
    }
    work.set_hooks(hooks);
    Ok(Applied::silent(Effect::None))
}
