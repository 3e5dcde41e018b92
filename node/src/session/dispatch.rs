//! Dispatch of a decoded command to its handler, after the rate limits.

use std::time::{Duration, Instant};

use actix::Context;
use protocol::answer::HeartbeatResponse;
use protocol::{
    ClientCommand, CloseCode, CommandCost, CommandRate, DecodeError, ErrorCode, Request, Response, cost,
};

use super::actor::{Session, SessionState};
use super::messages::ReceivedCommand;
use crate::conversation::CommandError;

/// Maximum number of commands before authentication: an `auth`, some retries, and a few mistakes.
const BEFORE_AUTH: u32 = 16;

// === impl Session: dispatch ===

impl Session {
    pub(super) fn dispatch(&mut self, ctx: &mut Context<Session>, item: ReceivedCommand) {
        let ReceivedCommand { request, bytes } = item;
        // A command that cannot be decoded counts as a change, which has the lower rate.
        self.cost = request
            .as_ref()
            .map_or(CommandCost::CHANGE, |request| cost(&request.command));
        // Refused commands count as well: a client that ignores refusals has to be disconnected.
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
                    CommandError {
                        code,
                        msg,
                        retry_ms: None,
                    },
                );
            }
        };
        if let ClientCommand::Auth(auth) = command {
            return self.authenticate(ctx, id, auth);
        }
        if matches!(self.phase, SessionState::Greeting) {
            let msg = "the session is not authenticated: send auth first".to_owned();
            return self.refuse(
                id,
                CommandError {
                    code: ErrorCode::Unauthenticated,
                    msg,
                    retry_ms: None,
                },
            );
        }
        match command {
            // Handled above; the match has to be exhaustive.
            ClientCommand::Auth(_) => {}
            ClientCommand::Hb(hb) => {
                if let Some(n) = hb.n {
                    self.applied(n);
                }
                self.answer(id, &Response::Hb(HeartbeatResponse { time: self.now_ms() }));
            }
            ClientCommand::Send(send) => self.publish(ctx, id, send, bytes),
            ClientCommand::Create(create) => self.create_conversation(ctx, id, create, bytes),
            ClientCommand::Open(open) => self.open_conversation(ctx, id, open),
            ClientCommand::List(list) => self.list(ctx, id, list),
            ClientCommand::Hist(hist) => self.history(ctx, id, hist),
            ClientCommand::Sync(sync) => self.sync(ctx, id, sync),
            ClientCommand::Members(members) => self.members(ctx, id, members),
            ClientCommand::Me(me) => self.own_settings(ctx, id, me, bytes),
            ClientCommand::Edit(_)
            | ClientCommand::Del(_)
            | ClientCommand::React(_)
            | ClientCommand::Invite(_)
            | ClientCommand::Kick(_)
            | ClientCommand::Leave(_)
            | ClientCommand::Ban(_)
            | ClientCommand::Unban(_)
            | ClientCommand::Role(_)
            | ClientCommand::Join(_)
            | ClientCommand::Set(_)
            | ClientCommand::Block(_)
            | ClientCommand::Unblock(_)
            | ClientCommand::Read(_)
            | ClientCommand::Recv(_) => self.change(ctx, id, command, bytes),
            ClientCommand::Watch(users) => self.watch(id, users.users),
            ClientCommand::Unwatch(users) => self.unwatch(id, &users.users),
            // Has no response.
            ClientCommand::Typing(typing) => self.typing(&typing),
        }
    }

    /// Server time for `hello` and `hb`, in Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.worker.conversations.clock().now_ms()
    }

    /// Counts a command, refused or not. Returns true if the client exceeds its rate for too long.
    fn asks_too_much(&mut self, rate: CommandRate) -> bool {
        match &self.account {
            Some(account) => account.note(rate, Instant::now()),
            None => {
                self.unknown_asked += 1;
                self.unknown_asked > BEFORE_AUTH
            }
        }
    }

    /// Charges the command that is being handled; the error is the time until it can be charged.
    pub(super) fn pay(&self, now: Instant) -> Result<(), Duration> {
        // Without an account only `auth` is accepted, and the number of attempts is limited.
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.take(self.cost, now))
    }

    /// Charges the command that is being handled. Refuses it and returns `false` if the rate is exceeded.
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

/// Refusal of a command that exceeds the rate limit.
pub(crate) fn too_fast(wait: Duration) -> CommandError {
    CommandError {
        code: ErrorCode::RateLimited,
        msg: "too many commands".to_owned(),
        retry_ms: Some(millis_up(wait)),
    }
}

/// Rounds up to whole milliseconds, at least one.
pub(super) fn millis_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000))
        .unwrap_or(u64::MAX)
        .max(1)
}
