//! A client that fetches its events, again and again, instead of being connected: between two fetches it is away.

use std::time::Instant;

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;
use protocol::answer::NotResumed;
use tokio::sync::oneshot;

use super::actor::{Phase, Session, Transport};
use super::messages::{Fetch, Fetched};
use super::worker::Order;

// === impl Session: fetch ===

impl Session {
    /// Ends the fetch that is being answered, if one is: it brings nothing.
    pub(super) fn end_fetch(&mut self) {
        self.fetch += 1;
        self.link.next_fetch(self.fetch);
        if self.away.is_none() {
            self.leave_waiting();
        }
    }

    /// Looks at what others may have changed while a fetch is being answered.
    pub(super) fn look_while_fetched(&mut self, ctx: &mut Context<Session>) {
        if self.link.outbox(|outbox| outbox.lost()) {
            return self.void(ctx, NotResumed::Gap);
        }
        if matches!(self.worker.order(), Order::Drain | Order::Isolated) {
            return self.end_fetch();
        }
        if self.report_at.is_some_and(|at| Instant::now() >= at) {
            self.report(ctx);
        }
        let never = Instant::now() + self.worker.config.session.resume_ttl_ms.duration();
        self.link.set_due(self.report_at.unwrap_or(never));
        self.follow_joined(ctx);
    }

    fn begin_fetch(&mut self, ctx: &mut Context<Session>, fetch: &Fetch) -> Result<u64, NotResumed> {
        let Phase::Open(open) = &mut self.phase else {
            return Err(NotResumed::Unknown);
        };
        if self.transport != Transport::Poll || open.lent.is_some() {
            return Err(NotResumed::Unknown);
        }
        let there = self.link.outbox(|outbox| outbox.after(fetch.after).is_ok());
        if !there {
            return Err(NotResumed::Gap);
        }
        open.expires = fetch.expires;
        open.login = fetch.login.clone();
        if let Some(seat) = &self.seat {
            seat.renew(open.login.clone());
        }
        let sid = open.sid;
        self.worker.sessions.showed(sid, fetch.login.clone());
        self.applied(fetch.after);
        self.settle(ctx);
        self.sit(ctx);
        self.fetch += 1;
        self.link.next_fetch(self.fetch);
        if self.away.take().is_some() {
            self.worker.set_attached(self.tag, true);
            self.worker.sessions.attached(sid);
        }
        Ok(self.fetch)
    }
}

impl Handler<Fetch> for Session {
    type Result = ResponseFuture<Result<Fetched, NotResumed>>;

    fn handle(&mut self, fetch: Fetch, ctx: &mut Context<Session>) -> Self::Result {
        let this = match self.begin_fetch(ctx, &fetch) {
            Ok(this) => this,
            Err(why) => return Box::pin(std::future::ready(Err(why))),
        };
        let (mut tell, told) = oneshot::channel();
        let link = self.link.clone();
        let until = Instant::now() + fetch.wait;
        let waiting = async move {
            let events: Vec<(u64, Bytes)> = tokio::select! {
                events = link.fetch(fetch.after, this) => events,
                () = tokio::time::sleep_until(until.into()) => Vec::new(),
                () = tell.closed() => Vec::new(),
            };
            // One that is gone asks again.
            let _gone = tell.send(Ok(Fetched { events }));
        };
        self.wait(ctx, waiting, move |session, _ctx, ()| {
            if session.fetch == this && session.away.is_none() {
                session.leave_waiting();
            }
        });
        Box::pin(async move { told.await.unwrap_or(Err(NotResumed::Unknown)) })
    }
}
