//! Application of one command to the apply context: one file per group of commands. Each checks everything before it
//! changes anything.
//!
//! Spine: step 9 of 13. Previous: `cluster: raft/state_machine`. Next: `node: conversation/apply_results`.

use protocol::{ClientMessageId, ConversationId, ErrorCode, UserId};
use storage::Error;

use super::apply_context::ApplyContext;
use super::command::{ShardCommand, ShardOp};
use super::outcome::{CommandResult, ShardOutcome};
use super::row_store::RowWriter;
use super::rows::{ConvRow, MemberRow};
use super::rules::{self, Permission};

mod activity;
mod bans;
mod blocks;
mod consent;
mod create;
mod cursors;
mod hooks;
mod index;
mod login;
mod membership;
mod message;
mod retain;
mod seen;
mod send;
mod settings;

#[cfg(test)]
pub(super) use retain::STEP as RETAIN_STEP;

/// User, conversation and originating session of a command.
#[derive(Clone, Copy)]
struct CommandOrigin<'a> {
    conv: &'a ConversationId,
    user: &'a UserId,
    skip: u64,
}

/// Reason for which a command changes nothing.
enum ApplyError {
    /// The rules forbid the command; the client receives the error.
    Refused(ErrorCode, String),
    /// The proposing node built an invalid command.
    Bad(&'static str),
    /// The command was applied before; holds its first result.
    Done(CommandResult),
    /// The storage failed; the replica stops.
    Storage(Error),
}

type Result<T> = std::result::Result<T, ApplyError>;

/// Applies one command. An error means that the storage failed, and stops the replica.
pub(super) fn command(
    work: &mut ApplyContext<'_, impl RowWriter>,
    command: &ShardCommand,
) -> std::result::Result<ShardOutcome, Error> {
    let by = CommandOrigin {
        conv: &command.conv,
        user: &command.user,
        skip: command.skip,
    };
    let cid = command.cid.as_ref();
    let result = match &command.op {
        ShardOp::Send {
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
        ShardOp::Create { kind, members, title } => {
            create::create(work, by, cid, *kind, members, title.as_deref())
        }
        ShardOp::Invite { who } => membership::invite(work, by, cid, who),
        ShardOp::Kick { who } => membership::kick(work, by, cid, who),
        ShardOp::Leave => membership::leave(work, by, cid),
        ShardOp::Read { s } => cursors::read(work, by, *s),
        ShardOp::Delivered { s } => cursors::delivered(work, by, *s),
        ShardOp::Reserve => create::reserve(work, by, cid),
        ShardOp::IndexPut {
            member,
            version,
            at_ms,
        } => index::put(work, by, *member, *version, *at_ms),
        ShardOp::OutboxDone { ids } => Ok(index::outbox_done(work, ids)),
        ShardOp::Edit { of, body, mentions } => message::edit(work, by, cid, *of, body, mentions.as_deref()),
        ShardOp::Delete { of } => message::delete(work, by, cid, *of),
        ShardOp::React { of, k, on, who } => {
            let (on, who) = (*on, who.as_ref());
            message::react(work, by, cid, *of, &message::Reaction { k, on, who })
        }
        ShardOp::Join => membership::join(work, by, cid),
        ShardOp::Ban { who } => bans::ban(work, by, cid, who),
        ShardOp::Unban { who } => bans::unban(work, by, cid, who),
        ShardOp::SetRole { who, role } => membership::set_role(work, by, cid, who, *role),
        ShardOp::Set {
            title,
            history,
            muted,
            pinned,
        } => settings::set(
            work,
            by,
            cid,
            &settings::SettingsChange {
                title: title.as_deref(),
                history: *history,
                muted: *muted,
                pinned: *pinned,
            },
        ),
        ShardOp::Block { who, on } => blocks::block(work, by, who, *on),
        ShardOp::BlockPut {
            who,
            on,
            version,
            at_ms,
        } => blocks::put(work, by, who, *on, *version, *at_ms),
        ShardOp::Seen { at_ms } => seen::put(work, by, *at_ms),
        ShardOp::Retain { below } => retain::retain(work, by, *below),
        ShardOp::Login(login) => login::apply(work, by.conv, cid, login),
        ShardOp::Hook { name, on } => hooks::subscribe(work, by, cid, name, *on),
        ShardOp::HooksOn { members } => hooks::switch(work, *members),
        ShardOp::WebhookDelivered { ids } => hooks::delivered(work, ids),
        ShardOp::MayAdd {
            by: who,
            cid,
            shared,
            bounds,
        } => consent::may_add(
            work,
            by,
            consent::AdditionAttempts {
                by: who,
                cid,
                shared: shared.as_ref(),
                bounds: *bounds,
            },
        ),
        ShardOp::NotAdded { who, why } => consent::not_added(work, by, cid, who.as_ref(), why),
        ShardOp::Wish { group_invite } => consent::wish(work, by, *group_invite),
        ShardOp::Active { items } => activity::put(work, items),
        ShardOp::EndWatch { items } => activity::end(work, items),
    };
    // A refusal is an outcome like any other: every replica must reach the same one, so only storage errors propagate.
    match result {
        Ok(applied) | Err(ApplyError::Done(applied)) => Ok(ShardOutcome::Done(applied)),
        Err(ApplyError::Refused(code, msg)) => Ok(ShardOutcome::Refused(code, msg)),
        Err(ApplyError::Bad(why)) => Ok(ShardOutcome::Bad(why.to_owned())),
        Err(ApplyError::Storage(error)) => Err(error),
    }
}

// === impl ApplyError ===

impl From<Error> for ApplyError {
    fn from(error: Error) -> ApplyError {
        ApplyError::Storage(error)
    }
}

fn refused<T>(code: ErrorCode, msg: impl Into<String>) -> Result<T> {
    Err(ApplyError::Refused(code, msg.into()))
}

fn forbidden(why: &'static str) -> ApplyError {
    ApplyError::Refused(ErrorCode::Forbidden, why.to_owned())
}

/// Returns the key, which every command that appends an event needs.
fn key(cid: Option<&ClientMessageId>) -> Result<&ClientMessageId> {
    cid.ok_or(ApplyError::Bad("the command needs a cid"))
}

/// Stops with the first result if the key was used before. This also holds for former members: an acknowledged command
/// stays acknowledged.
fn fresh(
    work: &mut ApplyContext<'_, impl RowWriter>,
    by: CommandOrigin<'_>,
    cid: &ClientMessageId,
) -> Result<()> {
    match work.first_result(by.conv, by.user, cid)? {
        Some(applied) => Err(ApplyError::Done(applied)),
        None => Ok(()),
    }
}

/// Conversation row, member row and role of the author of a command.
struct MemberContext {
    conv: ConvRow,
    me: MemberRow,
    role: protocol::Role,
}

// === impl MemberContext ===

impl MemberContext {
    /// Refuses a command that the role, or a block, does not permit.
    fn may(&self, act: Permission) -> Result<()> {
        rules::may(self.conv.kind, self.role, act).map_err(forbidden)?;
        if self.me.banned && act.is_audible() {
            return Err(forbidden(rules::BLOCKED));
        }
        Ok(())
    }
}

/// Returns the author's context. Non-members, former members and missing conversations get the same refusal.
fn member(work: &mut ApplyContext<'_, impl RowWriter>, by: CommandOrigin<'_>) -> Result<MemberContext> {
    // Both rows come from the apply context, so earlier commands of the same batch count.
    if let Some(conv) = work.conv(by.conv)?
        && let Some(me) = work.member(by.conv, by.user)?
        && let Some(role) = me.role
    {
        return Ok(MemberContext { conv, me, role });
    }
    not_member()
}

/// Refuses a non-member, with the same error for a missing conversation.
fn not_member<T>() -> Result<T> {
    refused(ErrorCode::NotMember, "not a member of this conversation")
}

/// Returns the time of the next event: the batch's, but never before the last event's.
fn tick(work: &ApplyContext<'_, impl RowWriter>, conv: &ConvRow) -> u64 {
    // The clock of a new owner may be behind; falling times would break the bisection by time in retention.
    work.now_ms.max(conv.last_ts)
}
