//! Deadlines of a session, and the ways in which it ends.

use std::time::{Duration, Instant};

use actix::{ActorContext, Context};
use bytes::Bytes;
use protocol::answer::NotResumed;
use protocol::event::{CloseEvent, Event};
use protocol::{CloseCode, UserId};

use super::actor::{ClientTransport, Session, SessionState};
use super::authenticate::left;
use super::replay_buffer::BufferedEvent;
use super::worker_context;
use crate::telemetry::metrics::CloseLabels;

/// Close that waits for pending responses, at most until its deadline.
pub(super) struct PendingClose {
    code: CloseCode,
    deadline: Instant,
}

// === impl Session: timers ===

impl Session {
    /// Checks everything that time, the node or the hub may have changed.
    pub(super) fn look(&mut self, ctx: &mut Context<Session>) {
        if let Some(since) = self.detached {
            return self.check_detached(ctx, since);
        }
        if self.transport == ClientTransport::Poll {
            return self.look_while_fetched(ctx);
        }
        if self.link.is_lost() {
            return self.detach(ctx, None, None, true);
        }
        let now = Instant::now();
        let timers = self.worker.config.session.clone();
        // Pending responses are sent first: their commands may be committed already.
        match self.worker.order() {
            worker_context::NodeState::Serve | worker_context::NodeState::HandOver => {}
            worker_context::NodeState::Drain => self.leave(CloseCode::Draining),
            worker_context::NodeState::Isolated => self.leave(CloseCode::Isolated),
        }
        let silent = self.link.idle_time(now);
        let mut due = now + timers.idle_timeout_ms.duration().saturating_sub(silent);
        let code = if silent >= timers.idle_timeout_ms.duration() {
            Some(CloseCode::HeartbeatMissed)
        } else {
            match &self.phase {
                SessionState::Greeting => {
                    let end = self.opened + timers.auth_ms.duration();
                    due = due.min(end);
                    (now >= end).then_some(CloseCode::NoAuth)
                }
                SessionState::Resuming(_) => None,
                SessionState::Open(open) => {
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
        if let Some(PendingClose { code, deadline }) = self.pending_close {
            if self.window.is_empty() || now >= deadline {
                return self.close(ctx, code);
            }
            due = due.min(deadline);
        }
        let every = match self.transport {
            ClientTransport::EventStream => timers.comment_ms.duration(),
            ClientTransport::WebSocket | ClientTransport::Poll => timers.ping_ms.duration(),
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
        self.process_backlog(ctx);
    }

    /// Closes the session once the pending responses are sent, or after `session.close_ms`.
    pub(super) fn leave(&mut self, code: CloseCode) {
        if self.pending_close.is_none() {
            let deadline = Instant::now() + self.worker.config.session.close_ms.duration();
            self.pending_close = Some(PendingClose { code, deadline });
            self.link.request_check();
        }
    }

    /// Closes the connection now. The code decides whether the session can be resumed.
    pub(super) fn close(&mut self, ctx: &mut Context<Session>, code: CloseCode) {
        if self.link.is_closed() {
            return;
        }
        // Random, because all clients of a stopping node would otherwise reconnect at the same time.
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
        // Events are numbered from `ready` on. Before that, the close code and its reason suffice.
        if planned && matches!(self.phase, SessionState::Open(_)) {
            let tail = Bytes::from(Event::Bye(CloseEvent::new(code, retry.unwrap_or(0))).tail());
            self.link
                .outbox(|outbox| outbox.event(BufferedEvent { tail, covers: None }, Instant::now()));
        }
        // A client that does not read would delay the close frame for nothing.
        let drop_waiting = matches!(code, CloseCode::SlowConsumer | CloseCode::HeartbeatMissed);
        let retry = retry.map(Duration::from_millis);
        if code == CloseCode::TokenExpired {
            self.over = NotResumed::Expired;
        }
        // After a code below 4200 the client returns to the same session.
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
