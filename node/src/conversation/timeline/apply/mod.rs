//! One command over the working set: one file per sort of command, each checking everything before it changes anything.

use protocol::{Cid, ConvId, ErrorCode, UserId};
use storage::Error;

use super::command::{Command, Op};
use super::door::RowsMut;
use super::outcome::{Applied, Outcome};
use super::rows::{ConvRow, MemberRow};
use super::rules::{self, Act};
use super::work::Work;

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

/// Who does it, in which conversation, under which key.
#[derive(Clone, Copy)]
struct By<'a> {
    conv: &'a ConvId,
    user: &'a UserId,
    skip: u64,
}

/// Why a command changes nothing.
enum Stop {
    /// The rules forbid it.
    Refused(ErrorCode, String),
    /// The proposing node made a mistake.
    Bad(&'static str),
    /// It had been done.
    Done(Applied),
    /// The storage failed: the replica stops.
    Storage(Error),
}

type Result<T> = std::result::Result<T, Stop>;

/// Applies one command.
pub(super) fn command(
    work: &mut Work<'_, impl RowsMut>,
    command: &Command,
) -> std::result::Result<Outcome, Error> {
    let by = By {
        conv: &command.conv,
        user: &command.user,
        skip: command.skip,
    };
    let cid = command.cid.as_ref();
    let result = match &command.op {
        Op::Send {
            direct,
            body,
            reply_to,
            mentions,
        } => send::send(
            work,
            by,
            cid,
            &send::Message {
                direct: direct.as_ref(),
                body,
                reply_to: *reply_to,
                mentions,
            },
        ),
        Op::Create { kind, members, title } => {
            create::create(work, by, cid, *kind, members, title.as_deref())
        }
        Op::Invite { who } => membership::invite(work, by, cid, who),
        Op::Kick { who } => membership::kick(work, by, cid, who),
        Op::Leave => membership::leave(work, by, cid),
        Op::Read { s } => cursors::read(work, by, *s),
        Op::Delivered { s } => cursors::delivered(work, by, *s),
        Op::Reserve => create::reserve(work, by, cid),
        Op::IndexPut {
            member,
            version,
            at_ms,
        } => index::put(work, by, *member, *version, *at_ms),
        Op::OutboxDone { ids } => Ok(index::outbox_done(work, ids)),
        Op::Edit { of, body, mentions } => message::edit(work, by, cid, *of, body, mentions.as_deref()),
        Op::Delete { of } => message::delete(work, by, cid, *of),
        Op::React { of, k, on, who } => {
            let (on, who) = (*on, who.as_ref());
            message::react(work, by, cid, *of, &message::Reaction { k, on, who })
        }
        Op::Join => membership::join(work, by, cid),
        Op::Ban { who } => bans::ban(work, by, cid, who),
        Op::Unban { who } => bans::unban(work, by, cid, who),
        Op::SetRole { who, role } => membership::set_role(work, by, cid, who, *role),
        Op::Set {
            title,
            history,
            muted,
            pinned,
        } => settings::set(
            work,
            by,
            cid,
            &settings::Changes {
                title: title.as_deref(),
                history: *history,
                muted: *muted,
                pinned: *pinned,
            },
        ),
        Op::Block { who, on } => blocks::block(work, by, who, *on),
        Op::BlockPut {
            who,
            on,
            version,
            at_ms,
        } => blocks::put(work, by, who, *on, *version, *at_ms),
        Op::Seen { at_ms } => seen::put(work, by, *at_ms),
        Op::Retain { below } => retain::retain(work, by, *below),
        Op::Login(login) => login::apply(work, by.conv, cid, login),
        Op::Hook { name, on } => hooks::subscribe(work, by, cid, name, *on),
        Op::HooksOn { members } => hooks::switch(work, *members),
        Op::HooksTold { ids } => hooks::told(work, ids),
        Op::MayAdd {
            by: who,
            cid,
            shared,
            bounds,
        } => consent::may_add(
            work,
            by,
            consent::Asks {
                by: who,
                cid,
                shared: shared.as_ref(),
                bounds: *bounds,
            },
        ),
        Op::NotAdded { who, why } => consent::not_added(work, by, cid, who.as_ref(), why),
        Op::Wish { group_invite } => consent::wish(work, by, *group_invite),
        Op::Active { items } => activity::put(work, items),
        Op::EndWatch { items } => activity::end(work, items),
    };
    match result {
        Ok(applied) | Err(Stop::Done(applied)) => Ok(Outcome::Done(applied)),
        Err(Stop::Refused(code, msg)) => Ok(Outcome::Refused(code, msg)),
        Err(Stop::Bad(why)) => Ok(Outcome::Bad(why.to_owned())),
        Err(Stop::Storage(error)) => Err(error),
    }
}

// === impl Stop ===

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Storage(error)
    }
}

fn refused<T>(code: ErrorCode, msg: impl Into<String>) -> Result<T> {
    Err(Stop::Refused(code, msg.into()))
}

fn forbidden(why: &'static str) -> Stop {
    Stop::Refused(ErrorCode::Forbidden, why.to_owned())
}

/// Returns the key, without which no event is made.
fn key(cid: Option<&Cid>) -> Result<&Cid> {
    cid.ok_or(Stop::Bad("the command needs a cid"))
}

/// Stops with the first result if the key was used before, also for one who is no member any more: what was
/// acknowledged stays acknowledged.
fn fresh(work: &mut Work<'_, impl RowsMut>, by: By<'_>, cid: &Cid) -> Result<()> {
    match work.first_result(by.conv, by.user, cid)? {
        Some(applied) => Err(Stop::Done(applied)),
        None => Ok(()),
    }
}

/// A conversation and its member, with the role.
struct Seat {
    conv: ConvRow,
    me: MemberRow,
    role: protocol::Role,
}

// === impl Seat ===

impl Seat {
    /// Refuses what the member may not do.
    fn may(&self, act: Act) -> Result<()> {
        rules::may(self.conv.kind, self.role, act).map_err(forbidden)?;
        if self.me.barred && act.is_heard() {
            return Err(forbidden(rules::BLOCKED));
        }
        Ok(())
    }
}

/// Returns the member's seat. Strangers, former members and conversations that don't exist are not told apart.
fn seat(work: &mut Work<'_, impl RowsMut>, by: By<'_>) -> Result<Seat> {
    if let Some(conv) = work.conv(by.conv)?
        && let Some(me) = work.member(by.conv, by.user)?
        && let Some(role) = me.role
    {
        return Ok(Seat { conv, me, role });
    }
    not_member()
}

/// The refusal of a stranger, whether or not the conversation exists.
fn not_member<T>() -> Result<T> {
    refused(ErrorCode::NotMember, "not a member of this conversation")
}

/// Returns the time of the next event: the batch's, but never before the last event's.
fn tick(work: &Work<'_, impl RowsMut>, conv: &ConvRow) -> u64 {
    work.now_ms.max(conv.last_ts)
}
