//! Long polling: the client fetches its events by requests instead of a permanent connection. Between two polls the
//! session is detached.

use std::time::Instant;

use actix::{Context, Handler, ResponseFuture};
use protocol::answer::NotResumed;
use tokio::sync::oneshot;

use super::actor::{ClientTransport, Session};
use super::messages::{PollRequest, PollResponse};
use super::worker_context::NodeState;

// === impl Session: fetch ===

impl Session {
    /// Ends the current long poll, if there is one, without events.
    pub(super) fn end_fetch(&mut self) {
        self.long_poll.end();
        if !self.lifecycle.is_detached() {
            self.leave_waiting();
        }
    }

    /// Checks deadlines and flags while a long poll is waiting.
    pub(super) fn look_while_fetched(&mut self, ctx: &mut Context<Session>) {
        if self.link.outbox(|outbox| outbox.lost()) {
            return self.terminate(ctx, NotResumed::Gap);
        }
        if matches!(self.worker.order(), NodeState::Drain | NodeState::Isolated) {
            return self.end_fetch();
        }
        if self.delivery.is_report_due(Instant::now()) {
            self.report(ctx);
        }
        // Nothing else has a deadline here: the poll itself ends in time.
        let never = Instant::now() + self.worker.config.session.resume_timeout.0;
        self.link.set_due(self.delivery.report_at().unwrap_or(never));
        self.follow_joined(ctx);
    }

    fn begin_fetch(&mut self, ctx: &mut Context<Session>, fetch: &PollRequest) -> Result<u64, NotResumed> {
        let Some(sid) = self.lifecycle.sid() else {
            return Err(NotResumed::Unknown);
        };
        // After an export the successor delivers the events: another reader must not confirm them here.
        if self.transport != ClientTransport::Poll || self.lifecycle.is_exported() {
            return Err(NotResumed::Unknown);
        }
        let there = self.link.outbox(|outbox| outbox.after(fetch.after).is_ok());
        if !there {
            return Err(NotResumed::Gap);
        }
        self.lifecycle.renew(fetch.expires);
        self.presence.renew(fetch.login.clone());
        self.worker.sessions.showed(sid, fetch.login.clone());
        // The poll confirms the events before `after`, and shows that the client has this session's id.
        self.delivery.confirm(fetch.after, Instant::now());
        self.confirm(ctx);
        self.enter_presence(ctx);
        // A new number ends the previous poll, if it is still waiting.
        let number = self.long_poll.begin();
        if self.lifecycle.attach() {
            self.worker.set_attached(self.tag, true);
            self.worker.sessions.attached(sid);
        }
        Ok(number)
    }
}

impl Handler<PollRequest> for Session {
    type Result = ResponseFuture<Result<PollResponse, NotResumed>>;

    fn handle(&mut self, fetch: PollRequest, ctx: &mut Context<Session>) -> Self::Result {
        let this = match self.begin_fetch(ctx, &fetch) {
            Ok(this) => this,
            Err(why) => return Box::pin(std::future::ready(Err(why))),
        };
        let (sender, response) = oneshot::channel();
        let waiting = self.long_poll.answer(this, &fetch, sender);
        self.wait(ctx, waiting, move |session, _ctx, ()| {
            // Unless a newer poll is waiting, which keeps the session attached.
            if session.long_poll.is_current(this) && !session.lifecycle.is_detached() {
                session.leave_waiting();
            }
        });
        Box::pin(async move { response.await.map_err(|_| NotResumed::Unknown) })
    }
}
