//! Presence of a session: it is registered before the session opens and displaced by another session of the device.
//! Also the watches of other users, and typing.

use std::time::{Duration, Instant};

use actix::Context;
use protocol::answer::{NotResumed, OkResponse};
use protocol::command::SetTyping;
use protocol::{ClientMessageId, ErrorCode, Response, UserId};

use super::actor::Session;
use super::presence::{EvictionEffect, refusal};
use crate::presence::{Device, EvictionReason, SessionMark};
use crate::shard_client::CommandError;

/// The WebSocket code of a normal end (RFC 6455 §7.4.1).
const NORMAL: u16 = 1_000;
/// Maximum time that a new session waits for the owner of its user's shard. Without an owner it must still open.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of users whose presence one session watches: more than a screen shows.
const WATCHED_USERS: usize = 500;

// === impl Session: presence ===

impl Session {
    /// Registers the client in presence and continues with `then` once it is admitted. If no owner of the user's shard
    /// responds within [`ADMISSION_TIMEOUT`], the client is admitted without its decision.
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
        let patience = ADMISSION_TIMEOUT;
        // Commands are paused: a session that is refused must not execute any.
        self.intake.pause();
        let admission = async move { tokio::time::timeout(patience, admission).await };
        self.wait(ctx, admission, move |session, ctx, admission| {
            session.intake.resume();
            // The guard is dropped with this closure, which removes the entry.
            if session.link.is_closed() {
                return;
            }
            match admission {
                Ok(Err(refused)) => {
                    let (refusal, close) = refusal(refused);
                    session.refuse(id, refusal);
                    session.close(ctx, close);
                }
                // `Err` is the timeout. Presence is soft state: a shard without an owner must not keep clients out.
                Ok(Ok(())) | Err(_) => {
                    session.presence.enter(guard);
                    // From here on, a refusal that arrives late is handled like a displacement.
                    session.wait(ctx, loss, Session::leave_presence);
                    then(session, ctx);
                    session.schedule_backlog();
                }
            }
        });
    }

    fn leave_presence(&mut self, ctx: &mut Context<Session>, loss: Option<EvictionReason>) {
        let Some(reason) = loss else { return };
        match EvictionEffect::of(reason, self.transport) {
            EvictionEffect::EndPoll => {
                self.presence.leave();
                self.end_fetch();
            }
            EvictionEffect::Detach => self.detach(ctx, Some(NORMAL), None, false),
            EvictionEffect::Terminate => self.terminate(ctx, NotResumed::Unknown),
            EvictionEffect::Close(code) => self.close(ctx, code),
        }
    }

    /// Registers a polling client again whose entry has expired. The owner's decision is not awaited; a refusal ends
    /// the session later.
    pub(super) fn enter_presence(&mut self, ctx: &mut Context<Session>) {
        let (Some(sid), Some(feed)) = (self.lifecycle.sid(), self.subscriber()) else {
            return;
        };
        if !self.presence.is_online() {
            let mark = SessionMark {
                own: sid.mark(),
                goes_on: Some(sid.mark()),
            };
            let (login, device) = self.presence.identity();
            let (guard, _admission, loss) = self.worker.presence.enter(feed.user_id(), login, device, mark);
            self.presence.enter(guard);
            self.wait(ctx, loss, Session::leave_presence);
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
        if self.limits.forwards_typing(&typing.c, typing.on, Instant::now()) {
            self.worker
                .conversations
                .typing(feed.user_id(), &typing.c, typing.on);
        }
    }

    pub(super) fn unwatch(&mut self, id: Option<i64>, users: &[UserId]) {
        if self.may(id) {
            self.worker.presence.unwatch(self.tag, users);
            self.answer(id, &Response::Ok(OkResponse {}));
        }
    }
}
