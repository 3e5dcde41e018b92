//! Presence of a session: it is registered before the session opens and displaced by another session of the device.
//! Also the watches of other users, and typing.

use std::time::Instant;

use actix::Context;
use protocol::answer::{NotResumed, OkResponse};
use protocol::command::SetTyping;
use protocol::{ClientMessageId, CloseCode, ErrorCode, Response, UserId};

use super::actor::{ClientTransport, Session, SessionState};
use crate::conversation::CommandError;
use crate::user::{Device, EvictionReason, SessionMark, SessionRefused};

/// The WebSocket code of a normal end (RFC 6455 §7.4.1).
const NORMAL: u16 = 1_000;

// === impl Session: presence ===

impl Session {
    /// Registers the client in presence and continues with `then` once it is admitted. If no owner of the user's shard
    /// responds within `presence.admission_ms`, the client is admitted without its decision.
    pub(super) fn admit(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        user: &UserId,
        login: Option<ClientMessageId>,
        (device, mark): (Option<Device>, SessionMark),
        then: impl FnOnce(&mut Session, &mut Context<Session>) + 'static,
    ) {
        let (guard, admission, loss) = self.worker.presence.enter(user, login, device, mark);
        let patience = self.worker.config.presence.admission_ms.duration();
        // Commands are paused: a session that is refused must not execute any.
        self.held = true;
        let admission = async move { tokio::time::timeout(patience, admission).await };
        self.wait(ctx, admission, move |session, ctx, admission| {
            session.held = false;
            // The guard is dropped with this closure, which removes the entry.
            if session.link.is_closed() {
                return;
            }
            match admission {
                Ok(Err(SessionRefused::Conflict)) => {
                    let msg = "instances of this device replace each other too often";
                    session.refuse(id, CommandError::new(ErrorCode::Conflict, msg));
                    session.close(ctx, CloseCode::Displaced);
                }
                Ok(Err(SessionRefused::TooMany)) => {
                    session.refuse(
                        id,
                        CommandError::new(ErrorCode::Conflict, "this user has too many sessions"),
                    );
                    session.close(ctx, CloseCode::TooManySessions);
                }
                // `Err` is the timeout. Presence is soft state: a shard without an owner must not keep clients out.
                Ok(Ok(())) | Err(_) => {
                    session.guard = Some(guard);
                    // From here on, a refusal that arrives late is handled like a displacement.
                    session.wait(ctx, loss, Session::leave_presence);
                    then(session, ctx);
                    session.schedule_backlog();
                }
            }
        });
    }

    fn leave_presence(&mut self, ctx: &mut Context<Session>, loss: Option<EvictionReason>) {
        match loss {
            None => {}
            // The client itself has connected elsewhere.
            Some(EvictionReason::Replaced) if self.transport == ClientTransport::Poll => {
                self.guard = None;
                self.end_fetch();
            }
            Some(EvictionReason::Replaced) => self.detach(ctx, Some(NORMAL), None, false),
            Some(EvictionReason::Displaced | EvictionReason::TooMany | EvictionReason::Ended)
                if self.transport == ClientTransport::Poll =>
            {
                self.terminate(ctx, NotResumed::Unknown);
            }
            Some(EvictionReason::Displaced) => self.close(ctx, CloseCode::Displaced),
            Some(EvictionReason::TooMany) => self.close(ctx, CloseCode::TooManySessions),
            Some(EvictionReason::Ended) => self.close(ctx, CloseCode::Banned),
        }
    }

    /// Registers a polling client again whose entry has expired. The owner's decision is not awaited; a refusal ends
    /// the session later.
    pub(super) fn enter_presence(&mut self, ctx: &mut Context<Session>) {
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        if self.guard.is_none() {
            let mark = SessionMark {
                own: open.sid.mark(),
                goes_on: Some(open.sid.mark()),
            };
            let (login, device) = (open.login.clone(), open.device.clone());
            let (guard, _admission, loss) =
                self.worker
                    .presence
                    .enter(open.feed.user_id(), login, device, mark);
            self.guard = Some(guard);
            self.wait(ctx, loss, Session::leave_presence);
        }
    }

    /// Watches the users that the resumed session watched.
    pub(super) fn watch_on(&self, users: Vec<UserId>) {
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        if !users.is_empty() {
            let (user, screen) = (open.feed.user_id(), open.feed.clone());
            let most = self.worker.config.limits.watched_users;
            // An exceeded limit is not reported: the client sent no command.
            let _too_many = self.worker.presence.watch(self.tag, user, screen, users, most);
        }
    }

    pub(super) fn watch(&mut self, id: Option<i64>, users: Vec<UserId>) {
        if !self.may(id) {
            return;
        }
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        let most = self.worker.config.limits.watched_users;
        let (user, screen) = (open.feed.user_id(), open.feed.clone());
        if self.worker.presence.watch(self.tag, user, screen, users, most) {
            self.answer(id, &Response::Ok(OkResponse {}));
        } else {
            let msg = format!("a session watches at most {most} users");
            self.refuse(id, CommandError::new(ErrorCode::Conflict, msg));
        }
    }

    /// Handles `typing`. Notices above the rate are dropped silently.
    pub(super) fn typing(&mut self, typing: &SetTyping) {
        let (SessionState::Open(open), Some(account)) = (&self.phase, &self.account) else {
            return;
        };
        if account.typing(&typing.c, typing.on, Instant::now()) {
            self.worker
                .conversations
                .typing(open.feed.user_id(), &typing.c, typing.on);
        }
    }

    pub(super) fn unwatch(&mut self, id: Option<i64>, users: &[UserId]) {
        if self.may(id) {
            self.worker.presence.unwatch(self.tag, users);
            self.answer(id, &Response::Ok(OkResponse {}));
        }
    }
}
