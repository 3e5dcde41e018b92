//! What time does to a session, and how a session ends.

use std::time::{Duration, Instant};

use actix::{ActorContext, Context};
use bytes::Bytes;
use protocol::answer::NotResumed;
use protocol::event::{Bye, Event};
use protocol::{CloseCode, UserId};

use super::actor::{Phase, Session, Transport};
use super::authenticate::left;
use super::ring::Kept;
use super::worker;
use crate::telemetry::metrics::CloseLabels;

/// A close that waits for the answers under way.
pub(super) struct Leaving {
    code: CloseCode,
    deadline: Instant,
}

// === impl Session: timers ===

impl Session {
    /// Looks at everything that time or others may have changed.
    pub(super) fn look(&mut self, ctx: &mut Context<Session>) {
        if let Some(since) = self.away {
            return self.look_while_away(ctx, since);
        }
        if self.transport == Transport::Poll {
            return self.look_while_fetched(ctx);
        }
        if self.link.is_lost() {
            return self.detach(ctx, None, None, true);
        }
        let now = Instant::now();
        let timers = self.worker.config.session.clone();
        match self.worker.order() {
            worker::Order::Serve | worker::Order::HandOver => {}
            worker::Order::Drain => self.leave(CloseCode::Draining),
            worker::Order::Isolated => self.leave(CloseCode::Isolated),
        }
        let silent = self.link.silence(now);
        let mut due = now + timers.idle_timeout_ms.duration().saturating_sub(silent);
        let code = if silent >= timers.idle_timeout_ms.duration() {
            Some(CloseCode::HeartbeatMissed)
        } else {
            match &self.phase {
                Phase::Greeting => {
                    let end = self.opened + timers.auth_ms.duration();
                    due = due.min(end);
                    (now >= end).then_some(CloseCode::NoAuth)
                }
                Phase::Resuming(_) => None,
                Phase::Open(open) => {
                    let left = open.expires.map(|at| left(at, self.worker.conversations.clock()));
                    due = left.map_or(due, |left| due.min(now + left));
                    if open.feed.is_too_slow() {
                        Some(CloseCode::SlowConsumer)
                    } else {
                        left.filter(Duration::is_zero).map(|_| CloseCode::TokenExpired)
                    }
                }
            }
        };
        if let Some(code) = code {
            return self.close(ctx, code);
        }
        if let Some(Leaving { code, deadline }) = self.leaving {
            if self.window.is_empty() || now >= deadline {
                return self.close(ctx, code);
            }
            due = due.min(deadline);
        }
        let every = match self.transport {
            Transport::EventStream => timers.comment_ms.duration(),
            Transport::WebSocket | Transport::Poll => timers.ping_ms.duration(),
        };
        if now >= self.pinged + every {
            self.link.outbox(|outbox| outbox.ping());
            self.pinged = now;
        }
        due = due.min(self.pinged + every);
        if self.report_at.is_some_and(|at| now >= at) {
            self.report(ctx);
        }
        due = self.report_at.map_or(due, |at| due.min(at));
        self.link.set_due(due);
        self.follow_joined(ctx);
        self.pump(ctx);
    }

    /// Closes the session once the answers under way are out; a drain and the like are announced.
    pub(super) fn leave(&mut self, code: CloseCode) {
        if self.leaving.is_none() {
            let deadline = Instant::now() + self.worker.config.session.close_ms.duration();
            self.leaving = Some(Leaving { code, deadline });
            self.link.nudge();
        }
    }

    /// Closes the session now.
    pub(super) fn close(&mut self, ctx: &mut Context<Session>, code: CloseCode) {
        if self.link.is_closed() {
            return;
        }
        let spread = self.worker.config.session.reconnect_spread_ms.0;
        let retry = match code {
            CloseCode::Draining | CloseCode::Isolated | CloseCode::Overloaded => {
                Some(rand::random_range(0..=spread))
            }
            CloseCode::SlowConsumer | CloseCode::HeartbeatMissed | CloseCode::Internal => Some(1_000),
            CloseCode::RateAbuse => Some(30_000),
            CloseCode::TokenExpired | CloseCode::NoAuth => Some(0),
            _ => None,
        };
        let planned = matches!(
            code,
            CloseCode::Draining | CloseCode::Isolated | CloseCode::Overloaded | CloseCode::TokenExpired
        );
        // Events are numbered from `ready` on. Who waits for it learns as much from the close code and its reason.
        if planned && matches!(self.phase, Phase::Open(_)) {
            let tail = Bytes::from(Event::Bye(Bye::new(code, retry.unwrap_or(0))).tail());
            self.link
                .outbox(|outbox| outbox.event(Kept { tail, covers: None }, Instant::now()));
        }
        let drop_waiting = matches!(code, CloseCode::SlowConsumer | CloseCode::HeartbeatMissed);
        let retry = retry.map(Duration::from_millis);
        if code == CloseCode::TokenExpired {
            self.over = NotResumed::Expired;
        }
        // The range is the verdict: after these the client comes back for the same session.
        if (4000..4200).contains(&code.code()) {
            self.detach(ctx, Some(code.code()), retry, drop_waiting);
        } else {
            self.hang_up(ctx, Some(code.code()), retry, drop_waiting);
        }
        tracing::debug!(
            code = code.code(),
            user = self.user().map(UserId::as_str),
            "session closed"
        );
    }

    /// Ends the connection and the session.
    pub(super) fn hang_up(
        &mut self,
        ctx: &mut Context<Session>,
        code: Option<u16>,
        retry: Option<Duration>,
        drop_waiting: bool,
    ) {
        self.end_connection(code, retry, drop_waiting);
        ctx.stop();
    }

    /// Ends the connection.
    pub(super) fn end_connection(&self, code: Option<u16>, retry: Option<Duration>, drop_waiting: bool) {
        self.worker
            .metrics
            .closed
            .get_or_create(&CloseLabels::from(code))
            .inc();
        self.link.close(
            code,
            retry,
            drop_waiting,
            self.worker.config.session.close_ms.duration(),
        );
    }
}
