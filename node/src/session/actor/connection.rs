//! Connection of a session: deadlines, long polls, delivered cursors, and the ways in which a connection ends.

use std::time::{Duration, Instant};

use actix::{ActorContext, Context, Handler, ResponseFuture};
use bytes::Bytes;
use protocol::event::{CloseEvent, Event};
use protocol::response::NotResumed;
use protocol::{CloseCode, UserId};
use tokio::sync::oneshot;

use super::Session;
use crate::presence::{EvictionReason, SessionMark};
use crate::session::delivery::BufferedEvent;
use crate::session::lifecycle::{ClosePlan, ConnectionStatus, TimerAction, left};
use crate::session::messages::{PollRequest, PollResponse};
use crate::session::presence::EvictionEffect;
use crate::session::worker_context::NodeState;
use crate::state_machine::{CommandOrigin, ConversationOp};
use crate::telemetry::metrics::CloseLabels;

/// The WebSocket code of a normal end (RFC 6455 §7.4.1).
const NORMAL: u16 = 1_000;
/// Maximum time for a closing connection to send the rest of its data.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

// === impl Session: connection ===

impl Session {
    /// Checks everything that time, the node or the hub may have changed.
    pub(super) fn look(&mut self, ctx: &mut Context<Session>) {
        // Before the cursors, which follow from it.
        self.read_confirmation(ctx);
        // A session whose time is over ends below.
        self.write_cursors(ctx);
        if self.lifecycle.is_detached() {
            return self.look_while_detached(ctx);
        }
        if self.policy.is_polled {
            return self.look_while_fetched(ctx);
        }
        if self.link.is_lost() {
            return self.detach(ctx, None, None, true);
        }
        let now = Instant::now();
        // Pending responses are sent first: their commands may be committed already.
        match self.worker.order_for(self.tag) {
            NodeState::Serve | NodeState::HandOver => {}
            NodeState::Drain => self.leave(CloseCode::Draining),
            NodeState::Isolated => self.leave(CloseCode::Isolated),
        }
        self.delivery.deliver(self.link.ponged(), now);
        let config = &self.worker.config;
        let status = ConnectionStatus {
            idle: self.link.idle_time(now),
            idle_timeout: self.policy.idle_timeout(config),
            ping_interval: self.policy.ping_interval(config),
            token_left: self
                .lifecycle
                .expires()
                .map(|at| left(at, self.worker.conversations.clock())),
            is_too_slow: self.subscriber().is_some_and(|feed| feed.is_too_slow()),
            is_idle: self.limits.is_idle(),
            unconfirmed: self.link.unconfirmed_for(now),
        };
        let (ping, deadline) = match self
            .lifecycle
            .check_attached(now, config.tuning.auth_timeout.0, &status)
        {
            TimerAction::Close(code) => return self.close(ctx, code),
            TimerAction::Continue { ping, deadline } => (ping, deadline),
        };
        if ping {
            self.link.ping();
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
        let due = [self.delivery.report_at(), self.cursors.due()];
        let due = due.into_iter().flatten().fold(deadline, Instant::min);
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
            self.remove_unkept_cursors();
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
    // --- presence ---

    /// Handles an eviction from presence.
    pub(super) fn leave_presence(&mut self, ctx: &mut Context<Session>, loss: Option<EvictionReason>) {
        let Some(reason) = loss else { return };
        // The connection is gone; only the end of the login concerns a session that waits for its device.
        if self.lifecycle.is_detached() && !self.policy.is_polled {
            if reason == EvictionReason::Ended {
                self.revoked(ctx);
            }
            return;
        }
        match EvictionEffect::of(reason, self.policy.is_polled) {
            EvictionEffect::EndPoll => {
                self.presence.leave();
                self.end_fetch();
            }
            EvictionEffect::Detach => self.detach(ctx, Some(NORMAL), None, false),
            EvictionEffect::Terminate => self.terminate(ctx, NotResumed::Unknown),
            EvictionEffect::Close(code) => {
                // The session is over for its device, too.
                self.remove_cursors();
                self.close(ctx, code);
            }
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
                sid,
                goes_on: Some(sid.mark()),
            };
            let (login, device) = self.presence.identity();
            let (guard, _admission, loss) = self.worker.presence.enter(feed.user_id(), login, device, mark);
            self.presence.enter(guard);
            self.wait(ctx, loss, Session::leave_presence);
        }
    }

    // --- delivered cursors ---

    /// Reads what the client has confirmed through its gateway since the last call.
    pub(super) fn read_confirmation(&mut self, ctx: &mut Context<Session>) {
        if let Some((n, at)) = self.link.take_confirmation() {
            self.delivery.confirm(n, at);
            // Events of this session reached the client: the resumed session can end.
            self.confirm(ctx);
        }
    }

    /// Reports the collected cursors.
    pub(super) fn report(&mut self, ctx: &mut Context<Session>) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        if self.lifecycle.is_exported() {
            // The session that resumed this one has these cursors and reports them.
            return self.delivery.cancel_report();
        }
        let (user, cursors) = (feed.user_id().clone(), self.delivery.take_cursors());
        for (conv, s) in cursors {
            let op = ConversationOp::Delivered { s };
            let origin = CommandOrigin {
                user: user.clone(),
                cid: None,
                // No receipt of a session's own cursor is needed.
                exclude_session: self.tag,
            };
            let done = self.worker.conversations.submit(conv.clone(), origin, op);
            self.wait(ctx, done, move |session, _ctx, result| {
                // A permanent refusal, for example after a removal from the conversation, drops the cursor.
                if result.is_err_and(|refusal| refusal.code.temporary()) {
                    session.delivery.restore_cursor(conv, s, Instant::now());
                }
            });
        }
    }
    // --- long polls ---

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
        if matches!(
            self.worker.order_for(self.tag),
            NodeState::Drain | NodeState::Isolated
        ) {
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
        if !self.policy.is_polled || self.lifecycle.is_exported() {
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
