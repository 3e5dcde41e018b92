//! A session beyond its connection: it waits for its client, goes on collecting events, and hands over what it has.
//!
//! It never gets another connection itself: whoever goes on with it, perhaps on another thread or node, gets a copy under
//! a new name. This one stays as it was until the client has used the new name ([`Yield`]), so that a client which never
//! saw it comes back with the old one and misses nothing.

use std::time::{Duration, Instant};

use actix::{ActorContext, Context, Handler};
use protocol::answer::NotResumed;
use protocol::{CloseCode, ConvId};

use super::actor::{Phase, Session, Transport};
use super::messages::{End, Revoked, Take, Yield};
use super::ring::Kept;
use crate::rpc::resume::Lent;

/// The start of an event that announces the end of a connection, which is no business of the next one.
const BYE: &[u8] = br#""t":"bye""#;

// === impl Session: handover ===

impl Session {
    /// The connection is over, with this close code and reason; the session isn't, if it had begun.
    pub(super) fn detach(
        &mut self,
        ctx: &mut Context<Session>,
        code: Option<u16>,
        retry: Option<Duration>,
        drop_waiting: bool,
    ) {
        if self.link.is_closed() {
            return;
        }
        if !matches!(self.phase, Phase::Open(_)) {
            return self.hang_up(ctx, code, retry, drop_waiting);
        }
        self.end_connection(code, retry, drop_waiting);
        self.backlog.clear();
        self.taken_up = None;
        self.leaving = None;
        self.leave_waiting();
    }

    /// Nobody is connected any more.
    pub(super) fn leave_waiting(&mut self) {
        self.away = Some(Instant::now());
        if let Phase::Open(open) = &mut self.phase {
            if self.transport != Transport::Poll {
                self.seat = None;
                open.watching = self.worker.desk.watching(self.tag);
                self.worker.desk.end(self.tag);
            }
            let bytes = self.link.outbox(|outbox| outbox.kept_bytes());
            self.worker.sessions.detached(open.sid, bytes);
        }
        self.worker.set_attached(self.tag, false);
        self.link.nudge();
    }

    /// Looks at what time and others may have changed while nobody is connected.
    pub(super) fn look_while_away(&mut self, ctx: &mut Context<Session>, since: Instant) {
        let now = Instant::now();
        let end = since + self.worker.config.session.resume_ttl_ms.duration();
        if self.link.outbox(|outbox| outbox.lost()) {
            return self.finish(ctx, NotResumed::Gap);
        }
        if now >= end {
            return self.finish(ctx, NotResumed::Expired);
        }
        if self.report_at.is_some_and(|at| now >= at) {
            self.report(ctx);
        }
        let mut due = self.report_at.map_or(end, |at| at.min(end));
        if self.seat.is_some() {
            // One that fetches is there between two fetches.
            let silent = since + self.worker.config.session.idle_timeout_ms.duration();
            if now >= silent {
                self.seat = None;
            } else {
                due = due.min(silent);
            }
        }
        self.link.set_due(due);
        self.follow_joined(ctx);
    }

    /// The session is of no use to anybody: a client that is still there is not told why, for it has gone on elsewhere.
    pub(super) fn void(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        if let (Phase::Open(open), NotResumed::Unknown) = (&self.phase, why) {
            // Another session has what has arrived, and reports it.
            drop(open.feed.arrivals.borrow_mut().take());
        }
        if self.away.is_none() && self.transport != Transport::Poll {
            self.over = why;
            self.hang_up(ctx, Some(CloseCode::Normal.code()), None, true);
        } else {
            self.finish(ctx, why);
        }
    }

    /// Another session goes on with what this one goes on with: two connections came with one name. Of a device that has a
    /// name the later one has its seat and keeps its connection, here as everywhere; the other one loses it by that. Were
    /// it the name that decides too, the two could be decided differently, and the client would lose both.
    pub(super) fn rivalled(&mut self, ctx: &mut Context<Session>) {
        let seated = matches!(&self.phase, Phase::Open(open) if open.device.is_some()) && self.seat.is_some();
        if !seated {
            self.void(ctx, NotResumed::Unknown);
        }
    }

    /// The login that the session came from has ended: it is over, whether its client is there or not.
    pub(super) fn revoked(&mut self, ctx: &mut Context<Session>) {
        if self.away.is_some() || self.transport == Transport::Poll {
            self.finish(ctx, NotResumed::Unknown);
        } else {
            self.close(ctx, CloseCode::Banned);
        }
    }

    fn pending(&self) -> Vec<(ConvId, u64)> {
        match &self.phase {
            Phase::Open(open) => open.feed.arrivals.borrow().pending(),
            Phase::Greeting | Phase::Resuming(_) => Vec::new(),
        }
    }

    fn finish(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        self.over = why;
        ctx.stop();
    }
}

impl Handler<Take> for Session {
    type Result = Result<Lent, NotResumed>;

    fn handle(&mut self, Take(question): Take, ctx: &mut Context<Session>) -> Self::Result {
        let Phase::Open(open) = &mut self.phase else {
            return Err(NotResumed::Unknown);
        };
        let behind = |kept: &Kept| (kept.tail.clone(), kept.covers.clone());
        let events = self.link.outbox(|outbox| {
            let events = outbox.after(question.n).map_err(|_| NotResumed::Gap)?;
            let wanted = events.filter(|(_, kept)| !kept.tail.starts_with(BYE));
            Ok(wanted.map(|(_, kept)| behind(kept)).collect())
        })?;
        let (convs, coming) = open.feed.positions();
        let (settled, quiet) = (open.feed.is_settled(), open.feed.hushed_messages());
        let watching = if open.watching.is_empty() {
            self.worker.desk.watching(self.tag)
        } else {
            open.watching.clone()
        };
        if let Some(other) = open.lent.replace(question.by) {
            self.worker.sessions.void(other);
        }
        if let Some(parent) = open.parent.take() {
            // The client knows this session: it named it.
            let settled = self.worker.sessions.clone().settle(parent, open.sid);
            self.work(async move {
                let _mine = settled.await;
            });
        }
        self.applied(question.n);
        let lent = Lent {
            events,
            convs,
            coming,
            settled,
            delivered: self.pending(),
            watching,
            quiet,
        };
        match self.transport {
            Transport::Poll => self.end_fetch(),
            Transport::WebSocket | Transport::EventStream if self.away.is_none() => {
                self.detach(ctx, Some(CloseCode::Normal.code()), None, true);
            }
            Transport::WebSocket | Transport::EventStream => {}
        }
        // It waits for its client as long as any other.
        self.away = self.away.map(|_| Instant::now());
        self.link.nudge();
        Ok(lent)
    }
}

impl Handler<Yield> for Session {
    type Result = bool;

    fn handle(&mut self, Yield(by): Yield, ctx: &mut Context<Session>) -> Self::Result {
        let Phase::Open(open) = &self.phase else {
            return false;
        };
        let mine = open.lent == Some(by);
        if mine {
            self.void(ctx, NotResumed::Unknown);
        }
        mine
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, End(why): End, ctx: &mut Context<Session>) {
        match why {
            NotResumed::Unknown => self.rivalled(ctx),
            NotResumed::Expired | NotResumed::Gap => self.void(ctx, why),
        }
    }
}

impl Handler<Revoked> for Session {
    type Result = ();

    fn handle(&mut self, _: Revoked, ctx: &mut Context<Session>) {
        self.revoked(ctx);
    }
}
