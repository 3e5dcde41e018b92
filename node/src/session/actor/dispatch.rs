//! Dispatch of a decoded command to its handler, after the rate limits. Also the commands that need no shard: watches of
//! other users, and typing.
//!
//! Path of a message: step 3 of 13.

use std::time::Instant;

use actix::Context;
use protocol::command::SetTyping;
use protocol::response::{HeartbeatResponse, OkResponse};
use protocol::{ClientCommand, CloseCode, DecodeError, ErrorCode, Request, Response, UserId};

use super::Session;
use crate::session::messages::ReceivedCommand;
use crate::shard_client::CommandError;

/// Maximum number of users whose presence one session watches: more than a screen shows.
const WATCHED_USERS: usize = 500;

// === impl Session: dispatch ===

impl Session {
    pub(super) fn dispatch(&mut self, ctx: &mut Context<Session>, item: ReceivedCommand) {
        let cost = item.cost();
        let ReceivedCommand { request, bytes } = item;
        // Refused commands count as well: a client that ignores refusals has to be disconnected.
        if !self.limits.accepts(cost, Instant::now()) {
            return self.close(ctx, CloseCode::RateAbuse);
        }
        let Request { id, command } = match request {
            Ok(request) => request,
            Err(DecodeError {
                id,
                code,
                message: msg,
            }) => {
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
        if !self.lifecycle.is_authenticated() {
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
                if let Some(n) = hb.session_seq {
                    self.delivery.confirm(n, Instant::now());
                }
                self.answer(
                    id,
                    &Response::Hb(HeartbeatResponse {
                        timestamp_ms: self.now_ms(),
                    }),
                );
            }
            ClientCommand::Send(send) => self.publish(ctx, id, send, bytes),
            ClientCommand::Create(create) => self.create_conversation(ctx, id, create, bytes),
            ClientCommand::Open(open) => self.open_conversation(ctx, id, open),
            ClientCommand::List(list) => self.ask(ctx, id, list, Response::Inbox),
            ClientCommand::Hist(hist) => self.ask(ctx, id, hist, Response::Hist),
            ClientCommand::Sync(sync) => self.ask(ctx, id, sync, Response::Delta),
            ClientCommand::Members(members) => self.ask(ctx, id, members, Response::Members),
            ClientCommand::Users(users) => self.ask(ctx, id, users, Response::Users),
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

    /// Charges the command that is being handled. Refuses it and returns `false` if the rate is exceeded.
    pub(super) fn may(&mut self, id: Option<i64>) -> bool {
        match self.limits.charge(Instant::now()) {
            Ok(()) => true,
            Err(refusal) => {
                self.refuse(id, refusal);
                false
            }
        }
    }
    /// Watches the users that the resumed session watched.
    pub(super) fn watch_on(&self, users: Vec<UserId>) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        if !users.is_empty() {
            let (user, screen) = (feed.user_id(), feed.clone());
            let most = WATCHED_USERS;
            // An exceeded limit is not reported: the client sent no command.
            let _too_many = self.worker.presence.watch(self.tag, user, screen, users, most);
        }
    }

    pub(super) fn watch(&mut self, id: Option<i64>, users: Vec<UserId>) {
        if !self.may(id) {
            return;
        }
        let Some(feed) = self.subscriber() else {
            return;
        };
        let most = WATCHED_USERS;
        let (user, screen) = (feed.user_id(), feed.clone());
        if self.worker.presence.watch(self.tag, user, screen, users, most) {
            self.answer(id, &Response::Ok(OkResponse {}));
        } else {
            let msg = format!("a session watches at most {most} users");
            self.refuse(id, CommandError::new(ErrorCode::Conflict, msg));
        }
    }

    /// Handles `typing`. Notices above the rate are dropped silently.
    pub(super) fn typing(&mut self, typing: &SetTyping) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        if self
            .limits
            .forwards_typing(&typing.conversation, typing.active, Instant::now())
        {
            self.worker
                .conversations
                .typing(feed.user_id(), &typing.conversation, typing.active);
        }
    }

    pub(super) fn unwatch(&mut self, id: Option<i64>, users: &[UserId]) {
        if self.may(id) {
            self.worker.presence.unwatch(self.tag, users);
            self.answer(id, &Response::Ok(OkResponse {}));
        }
    }
}
