//! Long polling: the client fetches its events by requests instead of a permanent connection. Between two polls the
//! session is detached.

use std::time::Instant;

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;
use protocol::answer::NotResumed;
use tokio::sync::oneshot;

use super::actor::{ClientTransport, Session, SessionState};
use super::messages::{PollRequest, PollResponse};
use super::worker_context::NodeState;

// === impl Session: fetch ===

impl Session {
    /// Ends the current long poll, if there is one, without events.
    pub(super) fn end_fetch(&mut self) {
        self.fetch += 1;
        self.link.next_fetch(self.fetch);
        if self.detached.is_none() {
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
        if self.report_at.is_some_and(|at| Instant::now() >= at) {
            self.report(ctx);
        }
        // Nothing else has a deadline here: the poll itself ends in time.
        let never = Instant::now() + self.worker.config.session.resume_ttl_ms.duration();
        self.link.set_due(self.report_at.unwrap_or(never));
        self.follow_joined(ctx);
    }

    fn begin_fetch(&mut self, ctx: &mut Context<Session>, fetch: &PollRequest) -> Result<u64, NotResumed> {
        let SessionState::Open(open) = &mut self.phase else {
            return Err(NotResumed::Unknown);
        };
        // After an export the successor delivers the events: another reader must not confirm them here.
        if self.transport != ClientTransport::Poll || open.exported_to.is_some() {
            return Err(NotResumed::Unknown);
        }
        let there = self.link.outbox(|outbox| outbox.after(fetch.after).is_ok());
        if !there {
            return Err(NotResumed::Gap);
        }
        open.expires = fetch.expires;
        open.login = fetch.login.clone();
        if let Some(guard) = &self.guard {
            guard.renew(open.login.clone());
        }
        let sid = open.sid;
        self.worker.sessions.showed(sid, fetch.login.clone());
        // The poll confirms the events before `after`, and shows that the client has this session's id.
        self.applied(fetch.after);
        self.confirm(ctx);
        self.enter_presence(ctx);
        // A new number ends the previous poll, if it is still waiting.
        self.fetch += 1;
        self.link.next_fetch(self.fetch);
        if self.detached.take().is_some() {
            self.worker.set_attached(self.tag, true);
            self.worker.sessions.attached(sid);
        }
        Ok(self.fetch)
    }
}

impl Handler<PollRequest> for Session {
    type Result = ResponseFuture<Result<PollResponse, NotResumed>>;

    fn handle(&mut self, fetch: PollRequest, ctx: &mut Context<Session>) -> Self::Result {
        let this = match self.begin_fetch(ctx, &fetch) {
            Ok(this) => this,
            Err(why) => return Box::pin(std::future::ready(Err(why))),
        };
        let (mut sender, response) = oneshot::channel();
        let link = self.link.clone();
        let until = Instant::now() + fetch.wait;
        let waiting = async move {
            let events: Vec<(u64, Bytes)> = tokio::select! {
                events = link.fetch(fetch.after, this) => events,
                () = tokio::time::sleep_until(until.into()) => Vec::new(),
                // The request was cancelled: the session is detached at once.
                () = sender.closed() => Vec::new(),
            };
            // The request may have been cancelled; its client polls again.
            let _gone = sender.send(Ok(PollResponse { events }));
        };
        self.wait(ctx, waiting, move |session, _ctx, ()| {
            // Unless a newer poll is waiting, which keeps the session attached.
            if session.fetch == this && session.detached.is_none() {
                session.leave_waiting();
            }
        });
        Box::pin(async move { response.await.unwrap_or(Err(NotResumed::Unknown)) })
    }
}
