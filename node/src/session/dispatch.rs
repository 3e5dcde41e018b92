//! From a decoded command to the file that handles it, past the rates.

use std::time::{Duration, Instant};

use actix::Context;
use protocol::answer::Hb;
use protocol::{Answer, CloseCode, Command, Cost, DecodeError, ErrorCode, Rate, Request, cost};

use super::actor::{Phase, Session};
use super::messages::Item;
use crate::conversation::Refusal;

/// Messages of a client before it is known who it is: an `auth`, some tries more, and a few mistakes.
const BEFORE_AUTH: u32 = 16;

// === impl Session: dispatch ===

impl Session {
    /// Handles one command.
    pub(super) fn dispatch(&mut self, ctx: &mut Context<Session>, item: Item) {
        let Item { request, bytes } = item;
        // What cannot be read counts as a change: those have the lower rate.
        self.cost = request
            .as_ref()
            .map_or(Cost::CHANGE, |request| cost(&request.command));
        if self.asks_too_much(self.cost.rate) {
            return self.close(ctx, CloseCode::RateAbuse);
        }
        let Request { id, command } = match request {
            Ok(request) => request,
            Err(DecodeError { id, code, msg }) => {
                if !self.may(id) {
                    return;
                }
                return self.refuse(
                    id,
                    Refusal {
                        code,
                        msg,
                        retry_ms: None,
                    },
                );
            }
        };
        if let Command::Auth(auth) = command {
            return self.authenticate(ctx, id, auth);
        }
        if matches!(self.phase, Phase::Greeting) {
            let msg = "send auth first".to_owned();
            return self.refuse(
                id,
                Refusal {
                    code: ErrorCode::Unauthenticated,
                    msg,
                    retry_ms: None,
                },
            );
        }
        match command {
            // Above; here for the compiler.
            Command::Auth(_) => {}
            Command::Hb(hb) => {
                if let Some(n) = hb.n {
                    self.applied(n);
                }
                self.answer(id, &Answer::Hb(Hb { time: self.now_ms() }));
            }
            Command::Send(send) => self.publish(ctx, id, send, bytes),
            Command::Create(create) => self.create_conversation(ctx, id, create, bytes),
            Command::Open(open) => self.open_conversation(ctx, id, open),
            Command::List(list) => self.list(ctx, id, list),
            Command::Hist(hist) => self.history(ctx, id, hist),
            Command::Sync(sync) => self.sync(ctx, id, sync),
            Command::Members(members) => self.members(ctx, id, members),
            Command::Me(me) => self.own_settings(ctx, id, me, bytes),
            Command::Edit(_)
            | Command::Del(_)
            | Command::React(_)
            | Command::Invite(_)
            | Command::Kick(_)
            | Command::Leave(_)
            | Command::Ban(_)
            | Command::Unban(_)
            | Command::Role(_)
            | Command::Join(_)
            | Command::Set(_)
            | Command::Block(_)
            | Command::Unblock(_)
            | Command::Read(_)
            | Command::Recv(_) => self.change(ctx, id, command, bytes),
            Command::Watch(users) => self.watch(id, users.users),
            Command::Unwatch(users) => self.unwatch(id, &users.users),
            // Typing has no answer.
            Command::Typing(typing) => self.typing(&typing),
        }
    }

    /// The time that `hello` and `hb` tell the client, in milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> u64 {
        self.worker.conversations.clock().now_ms()
    }

    /// Notes that something was asked, whatever becomes of it; whether the client goes on too fast, for too long.
    fn asks_too_much(&mut self, rate: Rate) -> bool {
        match &self.account {
            Some(account) => account.note(rate, Instant::now()),
            None => {
                self.unknown_asked += 1;
                self.unknown_asked > BEFORE_AUTH
            }
        }
    }

    /// Pays for the command that is being handled.
    pub(super) fn pay(&self, now: Instant) -> Result<(), Duration> {
        // Without an account nothing is asked but who the client is.
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.take(self.cost, now))
    }

    /// Pays for the command that is being handled; if that is not possible, the command is refused.
    pub(super) fn may(&self, id: Option<i64>) -> bool {
        match self.pay(Instant::now()) {
            Ok(()) => true,
            Err(wait) => {
                self.refuse(id, too_fast(wait));
                false
            }
        }
    }
}

/// The refusal of a command that came too early.
pub(crate) fn too_fast(wait: Duration) -> Refusal {
    Refusal {
        code: ErrorCode::RateLimited,
        msg: "too many commands".to_owned(),
        retry_ms: Some(millis_up(wait)),
    }
}

/// Whole milliseconds, at least one.
pub(super) fn millis_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000))
        .unwrap_or(u64::MAX)
        .max(1)
}
