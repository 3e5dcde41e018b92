//! Deadlines of a session, and the ways in which it ends.

use std::time::{Duration, Instant};

use actix::{ActorContext, Context};
use bytes::Bytes;
use protocol::answer::NotResumed;
use protocol::event::{CloseEvent, Event};
use protocol::{CloseCode, UserId};

use super::actor::{ClientTransport, Session};
use super::authenticate::left;
use super::delivery::BufferedEvent;
use super::lifecycle::{ClosePlan, ConnectionStatus, TimerAction};
use super::worker_context;
use crate::telemetry::metrics::CloseLabels;

/// Maximum time for a closing connection to send the rest of its data.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

// === impl Session: timers ===

impl Session {
    /// Checks everything that time, the node or the hub may have changed.
    pub(super) fn look(&mut self, ctx: &mut Context<Session>) {
        if self.lifecycle.is_detached() {
            return self.look_while_detached(ctx);
        }
        if self.transport == ClientTransport::Poll {
            return self.look_while_fetched(ctx);
        }
        if self.link.is_lost() {
            return self.detach(ctx, None, None, true);
        }
        let now = Instant::now();
        // Pending responses are sent first: their commands may be committed already.
        match self.worker.order() {
            worker_context::NodeState::Serve | worker_context::NodeState::HandOver => {}
            worker_context::NodeState::Drain => self.leave(CloseCode::Draining),
            worker_context::NodeState::Isolated => self.leave(CloseCode::Isolated),
        }
        let config = &self.worker.config;
        let status = ConnectionStatus {
            idle: self.link.idle_time(now),
            ping_interval: match self.transport {
                ClientTransport::EventStream => config.tuning.comment_interval.0,
                ClientTransport::WebSocket | ClientTransport::Poll => config.session.ping_interval.0,
            },
            token_left: self
                .lifecycle
                .expires()
                .map(|at| left(at, self.worker.conversations.clock())),
            is_too_slow: self.subscriber().is_some_and(|feed| feed.is_too_slow()),
            is_idle: self.limits.is_idle(),
        };
        let (ping, deadline) = match self.lifecycle.check_attached(now, config, &status) {
            TimerAction::Close(code) => return self.close(ctx, code),
            TimerAction::Continue { ping, deadline } => (ping, deadline),
        };
        if ping {
            self.link.outbox(|outbox| outbox.ping());
        }
        self.report_at_deadline(ctx, now, deadline);
        self.follow_joined(ctx);
        self.process_backlog(ctx);
    }

    /// Closes the session once the pending responses are sent, or after [`CLOSE_TIMEOUT`].
    pub(super) fn leave(&mut self, code: CloseCode) {
        let patience = CLOSE_TIMEOUT;
        if self.lifecycle.begin_close(code, Instant::now(), patience) {
            self.link.request_check();
        }
    }

    /// Reports the delivered cursors if that is due, and sets the next deadline.
    pub(super) fn report_at_deadline(&mut self, ctx: &mut Context<Session>, now: Instant, deadline: Instant) {
        if self.delivery.is_report_due(now) {
            self.report(ctx);
        }
        let due = self.delivery.report_at().map_or(deadline, |at| deadline.min(at));
        self.link.set_due(due);
    }

    /// Closes the connection now. The code decides whether the session can be resumed.
    pub(super) fn close(&mut self, ctx: &mut Context<Session>, code: CloseCode) {
        if self.link.is_closed() {
            return;
        }
        // Random, because all clients of a stopping node would otherwise reconnect at the same time.
        let spread = self.worker.config.tuning.reconnect_spread.as_millis();
        let jitter = Duration::from_millis(rand::random_range(0..=spread));
        let plan = ClosePlan::of(code, self.lifecycle.is_open(), jitter);
        if plan.has_event {
            let retry_ms = plan
                .retry
                .map_or(0, |retry| u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
            let tail = Bytes::from(Event::Bye(CloseEvent::new(code, retry_ms)).tail());
            self.link
                .outbox(|outbox| outbox.event(BufferedEvent { tail, covers: None }, Instant::now()));
        }
        if code == CloseCode::TokenExpired {
            self.lifecycle.end_with(NotResumed::Expired);
        }
        if plan.is_resumable {
            self.detach(ctx, Some(code.code()), plan.retry, plan.drop_queued);
        } else {
            self.hang_up(ctx, Some(code.code()), plan.retry, plan.drop_queued);
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
        self.link.close(code, retry, drop_waiting, CLOSE_TIMEOUT);
    }
}
