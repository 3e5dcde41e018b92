//! Detached sessions: event buffering, expiry after the resume timeout, and export on resume.
//!
//! A detached session never gets another connection. A resume copies it under a new id, possibly on another thread or
//! node. The original stays unchanged until the client has used the new id (`ConfirmTransfer`). So a client that never
//! received the new id resumes with the old one and misses nothing. See docs/delivery.md, "The way to the receivers".

use std::time::{Duration, Instant};

use actix::{ActorContext, Context, Handler, MessageResult};
use protocol::CloseCode;
use protocol::response::NotResumed;

use super::Session;
use crate::rpc::SessionFigures;
use crate::rpc::resume::SessionSnapshot;
use crate::session::lifecycle::{DetachedAction, DetachedStatus, ExportEffects};
use crate::session::messages::{ConfirmTransfer, DescribeSession, ExportSession, Terminate, TokenRevoked};

// === impl Session: transfer ===

impl Session {
    /// Closes the connection with this code and reason. An open session becomes detached; any other ends.
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
        if !self.lifecycle.is_open() {
            return self.hang_up(ctx, code, retry, drop_waiting);
        }
        self.end_connection(code, retry, drop_waiting);
        // Undispatched commands are discarded: their outcome is unknown to the client, which repeats them.
        self.intake.clear();
        self.lifecycle.cancel_close();
        self.leave_waiting();
    }

    /// Marks the session as detached, leaves presence and charges its buffered bytes.
    pub(super) fn leave_waiting(&mut self) {
        self.lifecycle.detach(Instant::now());
        self.cursors.hasten(Instant::now());
        if let Some(sid) = self.lifecycle.sid() {
            // A long-polling client has no connection between two polls and stays online meanwhile.
            if !self.policy.detached.keeps_presence {
                self.presence.leave();
                // Saved before the watches end: the session that resumes this one watches the same users.
                self.presence
                    .save_watches(self.worker.presence.watching(self.tag));
                self.worker.presence.end(self.tag);
            }
            let events = self.link.outbox(|outbox| outbox.buffered_bytes());
            let bytes = events + self.link.gateway_state().len();
            self.worker.sessions.detached(sid, bytes);
        }
        self.worker.set_attached(self.tag, false);
        self.link.request_check();
    }

    /// Checks deadlines and flags of a detached session.
    pub(super) fn look_while_detached(&mut self, ctx: &mut Context<Session>) {
        let now = Instant::now();
        let config = &self.worker.config;
        let status = DetachedStatus {
            resume_timeout: self.policy.resume_timeout(config),
            offline_after: self
                .policy
                .idle_timeout(config)
                .unwrap_or(config.session.idle_timeout.0),
            is_lost: self.link.outbox(|outbox| outbox.lost()),
            is_online: self.presence.is_online(),
        };
        match self.lifecycle.check_detached(now, status) {
            None => {}
            Some(DetachedAction::End(why)) => self.finish(ctx, why),
            Some(DetachedAction::Continue {
                leave_presence,
                deadline,
            }) => {
                self.report_at_deadline(ctx, now, deadline);
                if leave_presence {
                    self.presence.leave();
                }
                self.follow_joined(ctx);
            }
        }
    }

    /// Ends a session that is of no further use. A connected client gets no reason, because another session serves it.
    pub(super) fn terminate(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        if self.lifecycle.is_open() && why == NotResumed::Unknown {
            // The successor has these cursors and reports them.
            drop(self.delivery.take_cursors());
        }
        if !self.lifecycle.is_detached() && !self.policy.is_polled {
            self.lifecycle.end_with(why);
            self.hang_up(ctx, Some(CloseCode::Normal.code()), None, true);
        } else {
            self.finish(ctx, why);
        }
    }

    /// Handles a second successor of the session that this one resumed. With a named device, presence decides: the
    /// later connection stays and the other one is closed. A decision by the session id as well could contradict that,
    /// and the client would lose both connections.
    pub(super) fn terminate_if_superseded(&mut self, ctx: &mut Context<Session>) {
        if !self.presence.is_bound_to_device() {
            self.terminate(ctx, NotResumed::Unknown);
        }
    }

    /// Ends the session after the revocation of its login, whether attached or detached.
    pub(super) fn revoked(&mut self, ctx: &mut Context<Session>) {
        self.remove_cursors();
        if self.lifecycle.is_detached() || self.policy.is_polled {
            self.finish(ctx, NotResumed::Unknown);
        } else {
            self.close(ctx, CloseCode::Banned);
        }
    }

    fn finish(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        self.lifecycle.end_with(why);
        ctx.stop();
    }
}

impl Handler<ExportSession> for Session {
    type Result = Result<SessionSnapshot, NotResumed>;

    fn handle(&mut self, ExportSession(question): ExportSession, ctx: &mut Context<Session>) -> Self::Result {
        let (Some(sid), Some(feed)) = (self.lifecycle.sid(), self.subscriber()) else {
            return Err(NotResumed::Unknown);
        };
        self.read_confirmation(ctx);
        // A client without memory continues behind its last confirmation, the earliest point that can be replayed.
        let n = question.n.unwrap_or_else(|| self.delivery.floor());
        let events = self.delivery.events_after(n).map_err(|_| NotResumed::Gap)?;
        let (convs, coming) = feed.positions();
        let (is_ready, quiet) = (feed.is_ready(), feed.hushed_messages());
        let watching = self.presence.watches(|| self.worker.presence.watching(self.tag));
        let ExportEffects { cancel, confirm } = self.lifecycle.export_to(question.by);
        if let Some(unused_copy) = cancel {
            self.worker.sessions.cancel(unused_copy);
        }
        if let Some(parent) = confirm {
            let confirmed = self.worker.sessions.clone().confirm(parent, sid);
            self.work(async move {
                let _mine = confirmed.await;
            });
        }
        // Before the unreported cursors are copied: the presented number confirms events, too.
        self.delivery.confirm(n, Instant::now());
        let snapshot = SessionSnapshot {
            events: events
                .into_iter()
                .map(|event| (event.tail, event.covers))
                .collect(),
            convs,
            coming,
            confirmed: is_ready,
            delivered: self.delivery.pending_cursors(),
            watching,
            quiet,
            n,
            gateway_state: self.link.gateway_state(),
            resumes: self.resumes,
        };
        // The client is connected elsewhere. The old connection ends without a close event.
        if self.policy.is_polled {
            self.end_fetch();
        } else if !self.lifecycle.is_detached() {
            self.detach(ctx, Some(CloseCode::Normal.code()), None, true);
        }
        // Restarts the resume timeout: the client may need this session again if the new id is lost.
        self.lifecycle.restart_resume_timeout(Instant::now());
        self.link.request_check();
        Ok(snapshot)
    }
}

impl Handler<ConfirmTransfer> for Session {
    type Result = bool;

    fn handle(&mut self, ConfirmTransfer(by): ConfirmTransfer, ctx: &mut Context<Session>) -> Self::Result {
        let mine = self.lifecycle.is_successor(by);
        if mine {
            self.terminate(ctx, NotResumed::Unknown);
        }
        mine
    }
}

impl Handler<DescribeSession> for Session {
    type Result = MessageResult<DescribeSession>;

    fn handle(&mut self, _: DescribeSession, _: &mut Context<Session>) -> Self::Result {
        MessageResult(SessionFigures {
            resumes: self.resumes,
            outbox_bytes: self.link.outbox(|outbox| outbox.buffered_bytes()) as u64,
        })
    }
}

impl Handler<Terminate> for Session {
    type Result = ();

    fn handle(&mut self, Terminate(why): Terminate, ctx: &mut Context<Session>) {
        match why {
            // From a cancelled transfer: the client resumed the same session a second time.
            NotResumed::Unknown => self.terminate_if_superseded(ctx),
            NotResumed::Expired | NotResumed::Gap => self.terminate(ctx, why),
        }
    }
}

impl Handler<TokenRevoked> for Session {
    type Result = ();

    fn handle(&mut self, _: TokenRevoked, ctx: &mut Context<Session>) {
        self.revoked(ctx);
    }
}
