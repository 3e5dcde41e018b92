//! The session in its user's directory: it takes a seat before it is open, loses it to another session of its device, and
//! watches other users, and shows that its own types.

use std::time::Instant;

use actix::Context;
use protocol::answer::{Empty, NotResumed};
use protocol::command::Typing;
use protocol::{Answer, Cid, CloseCode, ErrorCode, UserId};

use super::actor::{Phase, Session, Transport};
use crate::conversation::Refusal;
use crate::user::{Device, Loss, Refused, SessionMark};

/// The WebSocket code of a normal end (RFC 6455 §7.4.1).
const NORMAL: u16 = 1_000;

// === impl Session: presence ===

impl Session {
    /// Takes a seat for the client, and goes on with `then` when it has one. Where no owner of the user's shard can be
    /// reached, the client is let in after a moment without its word.
    pub(super) fn admit(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        user: &UserId,
        login: Option<Cid>,
        (device, mark): (Option<Device>, SessionMark),
        then: impl FnOnce(&mut Session, &mut Context<Session>) + 'static,
    ) {
        let (seat, admission, loss) = self.worker.desk.enter(user, login, device, mark);
        let patience = self.worker.config.presence.admission_ms.duration();
        self.held = true;
        let admission = async move { tokio::time::timeout(patience, admission).await };
        self.wait(ctx, admission, move |session, ctx, admission| {
            session.held = false;
            if session.link.is_closed() {
                return;
            }
            match admission {
                Ok(Err(Refused::Conflict)) => {
                    let msg = "instances of this device displace each other too fast";
                    session.refuse(id, Refusal::new(ErrorCode::Conflict, msg));
                    session.close(ctx, CloseCode::Displaced);
                }
                Ok(Err(Refused::TooMany)) => {
                    session.refuse(
                        id,
                        Refusal::new(ErrorCode::Conflict, "too many sessions of this user"),
                    );
                    session.close(ctx, CloseCode::TooManySessions);
                }
                Ok(Ok(())) | Err(_) => {
                    session.seat = Some(seat);
                    session.wait(ctx, loss, Session::lose_seat);
                    then(session, ctx);
                    session.pump_soon();
                }
            }
        });
    }

    fn lose_seat(&mut self, ctx: &mut Context<Session>, loss: Option<Loss>) {
        match loss {
            None => {}
            // The client itself has gone elsewhere.
            Some(Loss::Replaced) if self.transport == Transport::Poll => {
                self.seat = None;
                self.end_fetch();
            }
            Some(Loss::Replaced) => self.detach(ctx, Some(NORMAL), None, false),
            Some(Loss::Displaced | Loss::TooMany | Loss::Ended) if self.transport == Transport::Poll => {
                self.void(ctx, NotResumed::Unknown);
            }
            Some(Loss::Displaced) => self.close(ctx, CloseCode::Displaced),
            Some(Loss::TooMany) => self.close(ctx, CloseCode::TooManySessions),
            Some(Loss::Ended) => self.close(ctx, CloseCode::Banned),
        }
    }

    /// Takes a seat again for a client that fetches and was gone for long. Nobody waits for the word of the owner: if it
    /// is against it, the session ends.
    pub(super) fn sit(&mut self, ctx: &mut Context<Session>) {
        let Phase::Open(open) = &self.phase else { return };
        if self.seat.is_none() {
            let mark = SessionMark {
                own: open.sid.mark(),
                goes_on: Some(open.sid.mark()),
            };
            let (login, device) = (open.login.clone(), open.device.clone());
            let (seat, _admission, loss) = self.worker.desk.enter(open.feed.user_id(), login, device, mark);
            self.seat = Some(seat);
            self.wait(ctx, loss, Session::lose_seat);
        }
    }

    /// Goes on watching whom another session of the client watched.
    pub(super) fn watch_on(&self, users: Vec<UserId>) {
        let Phase::Open(open) = &self.phase else { return };
        if !users.is_empty() {
            let (user, screen) = (open.feed.user_id(), open.feed.clone());
            let most = self.worker.config.limits.watched_users;
            let _too_many = self.worker.desk.watch(self.tag, user, screen, users, most);
        }
    }

    /// `watch`.
    pub(super) fn watch(&mut self, id: Option<i64>, users: Vec<UserId>) {
        if !self.may(id) {
            return;
        }
        let Phase::Open(open) = &self.phase else { return };
        let most = self.worker.config.limits.watched_users;
        let (user, screen) = (open.feed.user_id(), open.feed.clone());
        if self.worker.desk.watch(self.tag, user, screen, users, most) {
            self.answer(id, &Answer::Ok(Empty {}));
        } else {
            let msg = format!("a session watches at most {most} users");
            self.refuse(id, Refusal::new(ErrorCode::Conflict, msg));
        }
    }

    /// `typing`: what comes too often is dropped in silence.
    pub(super) fn typing(&mut self, typing: &Typing) {
        let (Phase::Open(open), Some(account)) = (&self.phase, &self.account) else {
            return;
        };
        if account.typing(&typing.c, typing.on, Instant::now()) {
            self.worker
                .conversations
                .typing(open.feed.user_id(), &typing.c, typing.on);
        }
    }

    /// `unwatch`.
    pub(super) fn unwatch(&mut self, id: Option<i64>, users: &[UserId]) {
        if self.may(id) {
            self.worker.desk.unwatch(self.tag, users);
            self.answer(id, &Answer::Ok(Empty {}));
        }
    }
}
