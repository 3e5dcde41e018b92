//! Acts on a command that is synced on a majority and applied.
//!
//! Spine: step 10 of 13. Previous: `node: state_machine/apply`. Next: `node: shard/fanout`.
//!
//! Called by the shard's actor for each command of an entry, in log order. The sender gets its response, and the events
//! enter the fan-out. Effects follow: receipts, presence and login changes, and membership changes for the user's shard.
//! Metric: `conversation_committed`.

use protocol::event::ReceiptEvent;
use protocol::{Event, UserId};

use super::context::ShardContext;
use super::inbound_batch::PendingCommand;
use super::pending_header::{PendingHeader, PendingSubject};
use super::recent::RecentSubject;
use crate::rpc;
use crate::rpc::login::{LoginsRevoked, UserAccessChanged};
use crate::rpc::submit::{AppliedReply, CommandReply};
use crate::state_machine::{
    ApplyEffect, CommandResult, EventEnvelope, LARGE_CONVERSATION, LoginKey, LoginOutcome, OutboxOutcome,
    RetentionOutcome, ShardOutcome, TokenFamilyId, UserOutcome,
};

/// Responds to a decided command, fans out its events and carries out its effect.
pub(crate) fn on_applied(core: &ShardContext, pending: PendingCommand, outcome: ShardOutcome) {
    let header = pending.header.clone();
    // The response goes first: fan-out grows with the interested nodes and must not delay the sender. For the meaning
    // of the ack see docs/delivery.md, "The ack".
    pending.answer(answer_of(&outcome));
    match outcome {
        ShardOutcome::Conversation(applied) => conversation_changed(core, &header, applied),
        ShardOutcome::Erasure(erased) => {
            erased.events.into_iter().for_each(|event| publish(core, event));
        }
        ShardOutcome::User(outcome) => user_changed(core, &header, outcome),
        ShardOutcome::Login(LoginOutcome::Reused(family)) => logins_ended(core, &header, &[family]),
        ShardOutcome::Login(LoginOutcome::ReusedWithDevices { families }) => {
            logins_ended(core, &header, &families);
        }
        ShardOutcome::Login(LoginOutcome::Ended { families, .. }) => logins_ended(core, &header, &families),
        ShardOutcome::Login(LoginOutcome::ApiKeyRevoked) => {
            core.shared.revocations.send(rpc::API_KEYS_REVOKED, &());
        }
        // Sessions that are not subscribed to the conversation subscribe on this.
        ShardOutcome::Outbox(OutboxOutcome::Moved(moved)) => {
            moved
                .into_iter()
                .for_each(|moved| core.fanout.active(core, moved));
        }
        ShardOutcome::Login(
            LoginOutcome::Accepted | LoginOutcome::Refused | LoginOutcome::Limited { .. },
        )
        | ShardOutcome::Outbox(OutboxOutcome::Removed)
        | ShardOutcome::Webhook
        | ShardOutcome::Retention(_)
        | ShardOutcome::Refused(..) => {}
    }
}

fn conversation_changed(core: &ShardContext, header: &PendingHeader, applied: CommandResult) {
    // A duplicate queued no webhook.
    if applied.mn.is_some() && !applied.dup {
        core.hook_wake.notify_one();
    }
    applied.events.into_iter().for_each(|event| publish(core, event));
    match applied.effect {
        ApplyEffect::None => {}
        ApplyEffect::OutboxAppended => core.outbox_wake.notify_one(),
        ApplyEffect::Cursors {
            delivered,
            read,
            read_moved,
            members,
        } => {
            let with_cursors = members <= LARGE_CONVERSATION;
            // The user's other devices need the read position, whatever the size of the conversation.
            if with_cursors || read_moved {
                receipt(core, header, (delivered, read), !with_cursors);
            }
        }
        ApplyEffect::Watched => {
            if let Some(conv) = header.conversation() {
                core.watch(conv.clone());
            }
        }
    }
}

fn publish(core: &ShardContext, event: EventEnvelope) {
    // The transaction of a membership change also wrote an outbox row for the user's shard.
    if event.adds.is_some() || event.removes.is_some() {
        core.outbox_wake.notify_one();
    }
    match event.only.clone() {
        // A member's own settings are in no log, so late subscribers can get them only from the recent events.
        Some(user) => core
            .fanout
            .publish_recent(core, RecentSubject::Settings(user), event),
        None => core.fanout.publish(core, event),
    }
}

fn user_changed(core: &ShardContext, header: &PendingHeader, outcome: UserOutcome) {
    let Some(user) = header.user() else {
        return;
    };
    match outcome {
        // Nodes that watch the user must hide the presence from the blocked user at once.
        UserOutcome::Blocked { who, since_ms } => {
            core.users.send(|users| users.blocked(user, &who, since_ms));
        }
        // An older version of the membership changes nothing and is not announced.
        UserOutcome::Indexed {
            conversation,
            changed: true,
            member: true,
        } => core.fanout.joined(core, user, &conversation),
        UserOutcome::AccessChanged { logins, closes } => access_changed(core, user, &logins, closes),
        UserOutcome::Erasing { logins, .. } => {
            access_changed(core, user, &logins, true);
            core.erasure_wake.notify_one();
        }
        // A repeated change is not announced.
        UserOutcome::Profile { ver, changed: true }
        | UserOutcome::RowsErased {
            profile: Some(ver), ..
        } => {
            core.users.send(|users| users.profile_changed(user, ver));
        }
        UserOutcome::Indexed { .. }
        | UserOutcome::Recorded
        | UserOutcome::Reserved { .. }
        | UserOutcome::Profile { .. }
        | UserOutcome::RowsErased { .. }
        | UserOutcome::Addition(_) => {}
    }
}

/// Announces the changed access of a user to every node.
fn access_changed(core: &ShardContext, user: &UserId, logins: &[TokenFamilyId], closes: bool) {
    let changed = UserAccessChanged {
        user: user.clone(),
        logins: logins.iter().map(TokenFamilyId::login).collect(),
        closes,
    };
    core.shared.revocations.send(rpc::USER_ACCESS_CHANGED, &changed);
}

/// Converts an outcome to the response for the sender.
pub(crate) fn answer_of(outcome: &ShardOutcome) -> CommandReply {
    CommandReply::Done(match outcome {
        ShardOutcome::Conversation(applied) => AppliedReply::Conversation {
            seq: applied.seq,
            mn: applied.mn,
            ts: applied.ts,
            dup: applied.dup,
        },
        ShardOutcome::User(UserOutcome::Reserved { conversation, .. }) => {
            AppliedReply::Reserved(conversation.clone())
        }
        ShardOutcome::User(UserOutcome::Addition(verdict)) => AppliedReply::Addition(*verdict),
        ShardOutcome::Login(outcome) => AppliedReply::Login(outcome.clone()),
        ShardOutcome::Retention(RetentionOutcome::Swept { more, .. })
        | ShardOutcome::User(UserOutcome::RowsErased { more, .. }) => AppliedReply::Swept { more: *more },
        ShardOutcome::User(UserOutcome::Erasing { id, .. }) => AppliedReply::Erasing(*id),
        ShardOutcome::Erasure(erased) => AppliedReply::Erased(erased.step),
        ShardOutcome::User(
            UserOutcome::Recorded
            | UserOutcome::Indexed { .. }
            | UserOutcome::Blocked { .. }
            | UserOutcome::AccessChanged { .. }
            | UserOutcome::Profile { .. },
        )
        | ShardOutcome::Outbox(_)
        | ShardOutcome::Webhook
        | ShardOutcome::Retention(RetentionOutcome::Trimmed) => AppliedReply::Done,
        ShardOutcome::Refused(code, msg) => return CommandReply::refused(*code, msg.clone()),
    })
}

/// Publishes a member's cursors to all members, or with `own` to the member's devices only. Receipts are in no log: the
/// next one replaces a lost one.
fn receipt(core: &ShardContext, header: &PendingHeader, (delivered, read): (u64, u64), own: bool) {
    let PendingSubject::Conversation { conv, user } = &header.subject else {
        return;
    };
    let event = Event::Receipt(ReceiptEvent {
        conversation: conv.clone(),
        user: user.clone(),
        delivered,
        read,
    });
    let published = EventEnvelope {
        conv: conv.clone(),
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip: header.exclude_session,
        only: own.then(|| user.clone()),
    };
    core.fanout
        .publish_recent(core, RecentSubject::Cursors(user.clone()), published);
}

/// Announces revoked logins: to the nodes with sessions of the user, which close them, and to every node, which refuses
/// the logins' tokens.
fn logins_ended(core: &ShardContext, header: &PendingHeader, families: &[TokenFamilyId]) {
    let PendingSubject::Login(LoginKey::User(user)) = &header.subject else {
        return;
    };
    let logins: Vec<_> = families.iter().map(|family| family.login()).collect();
    // The registry reaches the connected sessions, the broadcast below all others and the tokens. Each login is named, also
    // where all of a user end: a message that arrives late must not end the session of a later login.
    core.users
        .send(|users| logins.iter().for_each(|login| users.ended(user, login)));
    let revoked = LoginsRevoked {
        user: user.clone(),
        logins,
    };
    core.shared.revocations.send(rpc::ENDED, &revoked);
}
