//! Acts on a command that is synced on a majority and applied.
//!
//! Spine: step 10 of 13. Previous: `node: conversation/state_machine/apply`. Next: `node: conversation/fanout`.
//!
//! The sender gets its response and the events enter the fan-out in log order. Effects follow: receipts, presence and
//! login changes, and membership changes for the user's shard.

use protocol::event::ReceiptEvent;
use protocol::{ClientMessageId, Event, UserId};

use super::precheck::CommandHeader;
use super::recent::RecentSubject;
use super::shard::context::ShardContext;
use super::shard::inbound_batch::PendingCommand;
use super::state_machine::{ApplyEffect, EventEnvelope, ShardOutcome};
use crate::rpc::login::LoginsRevoked;
use crate::rpc::submit::CommandReply;
use crate::user::login::revocation_list;

/// Largest conversation, in members, whose cursor movements are published to the other members.
const RECEIPT_MEMBERS: u64 = 256;

/// Responds to a decided command, fans out its events and carries out its effect.
pub(crate) fn on_applied(core: &ShardContext, pending: PendingCommand, outcome: ShardOutcome) {
    let bytes = pending.bytes.clone();
    // The response goes first: fan-out grows with the interested nodes and must not delay the sender. For the meaning
    // of the ack see docs/delivery.md, "The ack".
    pending.answer(answer_of(&outcome));
    let ShardOutcome::Done(applied) = outcome else {
        return;
    };
    // A duplicate queued no webhook.
    if applied.mn > 0 && !applied.dup {
        core.hook_wake.notify_one();
    }
    for event in applied.events {
        // The transaction of a membership change also wrote an outbox row for the user's shard.
        if event.adds.is_some() || event.removes.is_some() {
            core.outbox_wake.notify_one();
        }
        match event.only.clone() {
            // A member's own settings are in no log, so late subscribers can get them only from the recent events.
            Some(user) => core.say(RecentSubject::Settings(user), event),
            None => core.publish(event),
        }
    }
    match applied.effect {
        ApplyEffect::None | ApplyEffect::Reserved(_) => {}
        // Nodes that watch the user must hide the presence from the blocked user at once.
        ApplyEffect::Blocked { who, since_ms } => {
            if let Some((_, user, _)) = named(&bytes) {
                core.users.send(|users| users.blocked(&user, &who, since_ms));
            }
        }
        ApplyEffect::Ended(login) => {
            let all = login.is_none();
            logins_ended(core, &bytes, login.into_iter().collect(), all);
        }
        ApplyEffect::EndedAll(logins) => logins_ended(core, &bytes, logins, true),
        ApplyEffect::OutboxAppended => core.outbox_wake.notify_one(),
        ApplyEffect::Cursors {
            delivered,
            read,
            read_moved,
            members,
        } => {
            let with_cursors = members <= RECEIPT_MEMBERS;
            // The user's other devices need the read position, whatever the size of the conversation.
            if with_cursors || read_moved {
                receipt(core, &bytes, (delivered, read), !with_cursors);
            }
        }
        ApplyEffect::Watched => {
            if let Some((conv, _, _)) = named(&bytes) {
                core.watch(conv);
            }
        }
        // Sessions that are not subscribed to the conversation subscribe on this.
        ApplyEffect::Moved(moved) => moved.into_iter().for_each(|moved| core.active(moved)),
        // An older version of the membership changes nothing and is not announced.
        ApplyEffect::Indexed { changed, member } => {
            if changed && member {
                joined(core, &bytes);
            }
        }
    }
}

/// Converts an outcome to the response for the sender.
pub(crate) fn answer_of(outcome: &ShardOutcome) -> CommandReply {
    match outcome {
        ShardOutcome::Done(applied) => {
            let reserved = match &applied.effect {
                ApplyEffect::Reserved(conv) => Some(conv.clone()),
                _ => None,
            };
            CommandReply::Done {
                seq: applied.s,
                mn: applied.mn,
                ts: applied.ts,
                dup: applied.dup,
                reserved,
            }
        }
        ShardOutcome::Refused(code, msg) => CommandReply::refused(*code, msg.clone()),
        ShardOutcome::Bad(why) => CommandReply::refused(protocol::ErrorCode::BadRequest, why.clone()),
    }
}

/// Publishes a member's cursors to all members, or with `own` to the member's devices only. Receipts are in no log: the
/// next one replaces a lost one.
fn receipt(core: &ShardContext, command: &[u8], (delivered, read): (u64, u64), own: bool) {
    let Some((conv, user, skip)) = named(command) else {
        return;
    };
    let event = Event::Receipt(ReceiptEvent {
        c: conv.clone(),
        u: user.clone(),
        delivered,
        read,
    });
    let published = EventEnvelope {
        conv,
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip,
        only: own.then(|| user.clone()),
    };
    core.say(RecentSubject::Cursors(user), published);
}

/// Announces revoked logins: to the nodes with sessions of the user, which close them, and to every node, which refuses
/// the logins' tokens.
fn logins_ended(core: &ShardContext, command: &[u8], logins: Vec<ClientMessageId>, all: bool) {
    // Login commands carry the user id in the conversation field.
    let header = CommandHeader::read(command).ok();
    let Some(user) = header.and_then(|header| UserId::parse(header.conv).ok()) else {
        return;
    };
    // The registry reaches the connected sessions, the broadcast below all others and the tokens.
    core.users.send(|users| match all {
        true => users.ended(&user, None),
        false => logins.iter().for_each(|login| users.ended(&user, Some(login))),
    });
    revocation_list::broadcast(&core.shared, &LoginsRevoked { user, logins, all });
}

/// Announces a new membership to the nodes with sessions of the user.
fn joined(core: &ShardContext, command: &[u8]) {
    if let Some((conv, user, _)) = named(command) {
        core.joined(&user, &conv);
    }
}

fn named(command: &[u8]) -> Option<(protocol::ConversationId, UserId, u64)> {
    let header = CommandHeader::read(command).ok()?;
    Some((
        protocol::ConversationId::parse(header.conv).ok()?,
        UserId::parse(header.user).ok()?,
        header.skip,
    ))
}
