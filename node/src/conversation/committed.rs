//! Step 10 of the life of a message: a majority has it on disk, and it is applied.
//!
//! Comes from the replicated log through the rules of the [timeline](super::timeline::machine) (step 9), which encoded
//! the event once; goes to [`fanout`](super::fanout) (step 11).
//!
//! The sender is answered, the events are handed to the fan-out in log order, and what else the outcome asks for is
//! set going: receipts, and the news of a membership to the user's shard.

use protocol::event::Receipt;
use protocol::{Cid, Event, UserId};

use super::publish::Peek;
use super::recent::About;
use super::shard::batch::Pending;
use super::shard::core::Core;
use super::timeline::{Effect, Outcome, Published};
use crate::rpc::login::Ended;
use crate::rpc::submit::Answer;
use crate::user::login::ended;

/// Members of the largest conversation in which cursors are shown to the others.
const RECEIPT_MEMBERS: u64 = 256;

/// Acts on what the log decided about a command.
pub(crate) fn settle(core: &Core, pending: Pending, outcome: Outcome) {
    let bytes = pending.bytes.clone();
    pending.answer(answer_of(&outcome));
    let Outcome::Done(applied) = outcome else { return };
    if applied.mn > 0 && !applied.dup {
        core.hook_wake.notify_one();
    }
    for event in applied.events {
        if event.adds.is_some() || event.removes.is_some() {
            core.outbox_wake.notify_one();
        }
        match event.only.clone() {
            Some(user) => core.say(About::Settings(user), event),
            None => core.publish(event),
        }
    }
    match applied.effect {
        Effect::None | Effect::Reserved(_) => {}
        Effect::Barred { who, since_ms } => {
            if let Some((_, user, _)) = named(&bytes) {
                core.users.tell(|users| users.barred(&user, &who, since_ms));
            }
        }
        Effect::Ended(login) => {
            let all = login.is_none();
            logins_ended(core, &bytes, login.into_iter().collect(), all);
        }
        Effect::EndedAll(logins) => logins_ended(core, &bytes, logins, true),
        Effect::Told => core.outbox_wake.notify_one(),
        Effect::Cursors {
            delivered,
            read,
            read_moved,
            members,
        } => {
            let shown = members <= RECEIPT_MEMBERS;
            // One's other devices want to know what was read, however large the conversation.
            if shown || read_moved {
                receipt(core, &bytes, (delivered, read), !shown);
            }
        }
        Effect::Watched => {
            if let Some((conv, _, _)) = named(&bytes) {
                core.watch(conv);
            }
        }
        Effect::Moved(moved) => moved.into_iter().for_each(|moved| core.active(moved)),
        Effect::Indexed { changed, member } => {
            if changed && member {
                joined(core, &bytes);
            }
        }
    }
}

/// What the sender is told.
pub(crate) fn answer_of(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Done(applied) => {
            let reserved = match &applied.effect {
                Effect::Reserved(conv) => Some(conv.clone()),
                _ => None,
            };
            Answer::Done {
                seq: applied.s,
                mn: applied.mn,
                ts: applied.ts,
                dup: applied.dup,
                reserved,
            }
        }
        Outcome::Refused(code, msg) => Answer::refused(*code, msg.clone()),
        Outcome::Bad(why) => Answer::refused(protocol::ErrorCode::BadRequest, why.clone()),
    }
}

/// Shows a member's cursors to the others, or to the member's own devices only. Not in the log: a lost one is made good by
/// the next.
fn receipt(core: &Core, command: &[u8], (delivered, read): (u64, u64), own: bool) {
    let Some((conv, user, skip)) = named(command) else {
        return;
    };
    let event = Event::Receipt(Receipt {
        c: conv.clone(),
        u: user.clone(),
        delivered,
        read,
    });
    let published = Published {
        conv,
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip,
        only: own.then(|| user.clone()),
    };
    core.say(About::Cursors(user), published);
}

/// Tells the nodes of the user's sessions, which close those that are connected, and every node, which refuses what else
/// the logins were good for.
fn logins_ended(core: &Core, command: &[u8], logins: Vec<Cid>, all: bool) {
    // What a login concerns is named where others have their conversation.
    let peek = Peek::read(command).ok();
    let Some(user) = peek.and_then(|peek| UserId::parse(peek.conv).ok()) else {
        return;
    };
    core.users.tell(|users| match all {
        true => users.ended(&user, None),
        false => logins.iter().for_each(|login| users.ended(&user, Some(login))),
    });
    ended::tell(&core.shared, &Ended { user, logins, all });
}

/// Tells a user's nodes of a new membership.
fn joined(core: &Core, command: &[u8]) {
    if let Some((conv, user, _)) = named(command) {
        core.joined(&user, &conv);
    }
}

fn named(command: &[u8]) -> Option<(protocol::ConvId, UserId, u64)> {
    let peek = Peek::read(command).ok()?;
    Some((
        protocol::ConvId::parse(peek.conv).ok()?,
        UserId::parse(peek.user).ok()?,
        peek.skip,
    ))
}
