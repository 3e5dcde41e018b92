//! Replicated state machine of a shard: turns a committed batch into rows and outcomes, the same on every replica.
//!
//! Spine: step 9 of 13. Previous: `cluster: raft/state_machine`. Next: `node: shard/apply_results`.
//!
//! One file per group of commands. Each checks everything before it changes anything. Authorisation, positions,
//! timestamps and deduplication are decided here, in log order; `cluster::raft` has checked the epoch of the owner
//! before.

use bytes::Bytes;
use cluster::{CommittedBatch, FeatureLevel, StateMachine, StateMachineError};
use protocol::{ClientMessageId, ConversationId, UserId};
use storage::{Error, Transaction};

use super::apply_context::{ApplyContext, Time};
use super::command::{CommandDecodeError, ShardCommand, VERSION};
use super::command_table::{ConversationOp, ErasureOp, OutboxOp, RetentionOp, UserOp, WebhookOp};
use super::outcome::{CommandResult, ShardOutcome, UserOutcome};
use super::row_store::RowWriter;

mod activity;
mod bans;
mod blocks;
mod checks;
mod consent;
mod create;
mod cursors;
mod device_cursors;
mod erase;
mod erase_in;
mod hooks;
mod index;
mod login;
mod membership;
mod message;
mod profile;
mod retain;
mod seen;
mod send;
mod settings;
mod user_access;

use self::checks::{
    ApplyError, MemberContext, Result, forbidden, fresh, invalid, key, member, not_member, of_a_person,
    refused, tick,
};
#[cfg(test)]
pub(super) use self::erase::STEP as ERASE_STEP;
#[cfg(test)]
pub(super) use self::retain::STEP as RETAIN_STEP;

/// Replicated state machine of every shard. It is stateless: all state is rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStateMachine;

/// User, conversation and originating session of a command.
#[derive(Clone, Copy)]
struct CommandScope<'a> {
    conv: &'a ConversationId,
    user: &'a UserId,
    skip: u64,
}

// === impl ShardStateMachine ===

impl StateMachine for ShardStateMachine {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        let time = Time {
            now_ms: batch.now_ms,
            reached_ms: batch.reached_ms,
        };
        let outcomes = apply_batch(tx, batch.index, batch.level, time, batch.commands)?;
        Ok(outcomes.iter().map(ShardOutcome::encode).collect())
    }
}

/// Applies one batch to any rows, by the rules of `level`. Returns one outcome per command, in order.
pub(super) fn apply_batch(
    rows: &mut impl RowWriter,
    index: u64,
    level: FeatureLevel,
    time: impl Into<Time>,
    commands: &[Bytes],
) -> Result<Vec<ShardOutcome>, StateMachineError> {
    let mut work = ApplyContext::new(rows, index, time.into());
    let mut outcomes = Vec::with_capacity(commands.len());
    for bytes in commands {
        // An unreadable command stops the replica: a node that can read it would apply it, so skipping it would let the
        // two differ.
        let command = decode_at(level, bytes)?;
        outcomes.push(apply_command(&mut work, &command)?);
    }
    // Not reached after an error: the transaction is then dropped as a whole.
    work.finish();
    Ok(outcomes)
}

/// Decodes a command, whose kind must belong to the rules of `level`: a build without the kind stops at the command, so
/// this one must not apply it.
fn decode_at(level: FeatureLevel, bytes: &[u8]) -> Result<ShardCommand, CommandDecodeError> {
    let command = ShardCommand::decode(bytes)?;
    let kind = command.kind();
    if kind.first_level() > level {
        return Err(CommandDecodeError {
            version: VERSION,
            kind: Some(kind as u8),
            reason: format!("the kind begins at feature level {}", kind.first_level()),
        });
    }
    Ok(command)
}

/// Applies one command. An error means that the storage failed, and stops the replica.
fn apply_command(
    work: &mut ApplyContext<'_, impl RowWriter>,
    command: &ShardCommand,
) -> Result<ShardOutcome, Error> {
    let result = match command {
        ShardCommand::Conversation {
            conversation,
            origin,
            op,
        } => {
            let by = CommandScope {
                conv: conversation,
                user: &origin.user,
                skip: origin.exclude_session,
            };
            of_conversation(work, by, origin.cid.as_ref(), op).map(ShardOutcome::Conversation)
        }
        ShardCommand::User { user, op } => of_user(work, user, op).map(ShardOutcome::User),
        ShardCommand::Login { key, op } => login::apply(work, key, op).map(ShardOutcome::Login),
        ShardCommand::Outbox(op) => match op {
            OutboxOp::OutboxDone { ids } => Ok(index::outbox_done(work, ids)),
            OutboxOp::Active { items } => activity::put(work, items),
            OutboxOp::EndWatch { items } => activity::end(work, items),
        }
        .map(ShardOutcome::Outbox),
        ShardCommand::Webhook(op) => match op {
            WebhookOp::HooksOn { members } => hooks::switch(work, *members),
            WebhookOp::WebhookDelivered { ids } => hooks::delivered(work, ids),
        }
        .map(|()| ShardOutcome::Webhook),
        ShardCommand::Retention(op) => match op {
            RetentionOp::Retain { conversation, below } => retain::retain(work, conversation, *below),
            RetentionOp::SweepLogins => login::sweep(work),
        }
        .map(ShardOutcome::Retention),
        ShardCommand::Erasure(ErasureOp::EraseIn {
            conversation,
            user,
            tombstone,
            messages,
        }) => {
            let erased = erase_in::Erased {
                conv: conversation,
                user,
                tombstone,
                messages: *messages,
            };
            erase_in::step(work, erased).map(ShardOutcome::Erasure)
        }
    };
    // A refusal is an outcome like any other: every replica must reach the same one, so only storage errors propagate.
    match result {
        Ok(outcome) => Ok(outcome),
        Err(ApplyError::Done(applied)) => Ok(ShardOutcome::Conversation(applied)),
        Err(ApplyError::Refused(code, msg)) => Ok(ShardOutcome::Refused(code, msg)),
        Err(ApplyError::Storage(error)) => Err(error),
    }
}

fn of_conversation(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandScope<'_>,
    cid: Option<&ClientMessageId>,
    op: &ConversationOp,
) -> Result<CommandResult> {
    match op {
        ConversationOp::Send {
            direct,
            body,
            reply_to,
            mentions,
        } => send::send(
            work,
            by,
            cid,
            &send::MessageDraft {
                direct: direct.as_ref(),
                body,
                reply_to: *reply_to,
                mentions,
            },
        ),
        ConversationOp::Edit { of, body, mentions } => {
            message::edit(work, by, cid, *of, body, mentions.as_deref())
        }
        ConversationOp::Delete { of } => message::delete(work, by, cid, *of),
        ConversationOp::React { of, k, on, who } => {
            let (on, who) = (*on, who.as_ref());
            message::react(work, by, cid, *of, &message::Reaction { k, on, who })
        }
        ConversationOp::Read { s } => cursors::read(work, by, *s),
        ConversationOp::Delivered { s } => cursors::delivered(work, by, *s),
        ConversationOp::Create {
            kind,
            members,
            title,
            data,
        } => {
            let new = create::CreateArguments {
                kind: *kind,
                members,
                title: title.as_deref(),
                data: data.as_deref(),
            };
            create::create(work, by, cid, new)
        }
        ConversationOp::NotAdded { who, why } => consent::not_added(work, by, cid, who.as_ref(), why),
        ConversationOp::Invite { who } => membership::invite(work, by, cid, who),
        ConversationOp::Kick { who } => membership::kick(work, by, cid, who),
        ConversationOp::Leave => membership::leave(work, by, cid),
        ConversationOp::Join => membership::join(work, by, cid),
        ConversationOp::Ban { who } => bans::ban(work, by, cid, who),
        ConversationOp::Unban { who } => bans::unban(work, by, cid, who),
        ConversationOp::SetRole { who, role, data } => {
            membership::set_role(work, by, cid, who, (*role, data.as_deref()))
        }
        ConversationOp::Set {
            title,
            history,
            muted,
            pinned,
            data,
        } => settings::set(
            work,
            by,
            cid,
            &settings::SettingsChange {
                title: title.as_deref(),
                history: *history,
                muted: *muted,
                pinned: *pinned,
                data: data.as_deref(),
            },
        ),
        ConversationOp::Block { who, on } => blocks::block(work, by, who, *on),
        ConversationOp::Hook { name, on } => hooks::subscribe(work, by, cid, name, *on),
        ConversationOp::PutMember { who, role } => membership::put(work, by, cid, who, *role),
    }
}

fn of_user(work: &mut ApplyContext<'_, impl RowWriter>, user: &UserId, op: &UserOp) -> Result<UserOutcome> {
    if let Some(outcome) = erase::of_erased(work, user, op)? {
        return Ok(outcome);
    }
    match op {
        UserOp::Reserve { conversation, cid } => create::reserve(work, user, conversation, cid),
        UserOp::IndexPut {
            conversation,
            member,
            version,
            at_ms,
        } => index::put(work, user, conversation, *member, *version, *at_ms),
        UserOp::BlockPut {
            who,
            on,
            version,
            at_ms,
        } => blocks::put(work, user, who, *on, *version, *at_ms),
        UserOp::Seen { at_ms } => seen::put(work, user, *at_ms),
        UserOp::MayAdd {
            by,
            conversation,
            cid,
            shared,
            bounds,
        } => consent::may_add(
            work,
            user,
            consent::AdditionAttempts {
                by,
                conv: conversation,
                cid,
                shared: shared.as_ref(),
                bounds: *bounds,
            },
        ),
        UserOp::Wish { group_invite } => consent::wish(work, user, *group_invite),
        UserOp::PutCursors {
            device,
            cursors,
            valid_ms,
        } => device_cursors::put(work, user, device, cursors.as_ref(), *valid_ms),
        UserOp::PutAccess {
            deactivated,
            before_s,
        } => user_access::put(work, user, *deactivated, *before_s),
        UserOp::PutProfile { name, avatar, data } => profile::put(
            work,
            user,
            profile::ProfileChange {
                name: name.as_deref(),
                avatar: avatar.as_deref(),
                data: data.as_deref(),
            },
        ),
        UserOp::Erase {
            id,
            tombstone,
            messages,
        } => erase::begin(work, user, *id, tombstone, *messages),
        UserOp::PutErased {
            conversation,
            version,
            shard,
            step,
        } => erase::put_erased(work, user, conversation, *version, (*shard, step)),
        UserOp::EraseRows { shard } => erase::rows(work, user, *shard),
    }
}
