//! Detached sessions: event buffering, expiry after the resume timeout, and export on resume.
//!
//! A detached session never gets another connection. A resume copies it under a new id, possibly on another thread or
//! node. The original stays unchanged until the client has used the new id (`ConfirmTransfer`). So a client that never
//! received the new id resumes with the old one and misses nothing. See docs/delivery.md, "The way to the receivers".

use std::time::{Duration, Instant};

use actix::{ActorContext, Context, Handler};
use protocol::answer::NotResumed;
use protocol::{CloseCode, ConversationId};

use super::actor::{ClientTransport, Session, SessionState};
use super::messages::{ConfirmTransfer, ExportSession, Terminate, TokenRevoked};
use super::replay_buffer::BufferedEvent;
use crate::rpc::resume::SessionSnapshot;

/// Prefix of a close event, which concerns the old connection only.
const BYE: &[u8] = br#""t":"bye""#;

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
        if !matches!(self.phase, SessionState::Open(_)) {
            return self.hang_up(ctx, code, retry, drop_waiting);
        }
        self.end_connection(code, retry, drop_waiting);
        // Undispatched commands are discarded: their outcome is unknown to the client, which repeats them.
        self.backlog.clear();
        self.taken_up = None;
        self.pending_close = None;
        self.leave_waiting();
    }

    /// Marks the session as detached, leaves presence and charges its buffered bytes.
    pub(super) fn leave_waiting(&mut self) {
        self.detached = Some(Instant::now());
        if let SessionState::Open(open) = &mut self.phase {
            // A long-polling client has no connection between two polls and stays online meanwhile.
            if self.transport != ClientTransport::Poll {
                self.guard = None;
                // Saved before the watches end: the session that resumes this one watches the same users.
                open.watching = self.worker.presence.watching(self.tag);
                self.worker.presence.end(self.tag);
            }
            let bytes = self.link.outbox(|outbox| outbox.buffered_bytes());
            self.worker.sessions.detached(open.sid, bytes);
        }
        self.worker.set_attached(self.tag, false);
        self.link.request_check();
    }

    /// Checks deadlines and flags of a detached session.
    pub(super) fn check_detached(&mut self, ctx: &mut Context<Session>, since: Instant) {
        let now = Instant::now();
        let end = since + self.worker.config.session.resume_ttl_ms.duration();
        // Before everything else: with an event lost, a resume would replay a hole.
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
        if self.guard.is_some() {
            // A long-polling client stays online between two polls, for at most the idle timeout.
            let silent = since + self.worker.config.session.idle_timeout_ms.duration();
            if now >= silent {
                self.guard = None;
            } else {
                due = due.min(silent);
            }
        }
        self.link.set_due(due);
        self.follow_joined(ctx);
    }

    /// Ends a session that is of no further use. A connected client gets no reason, because another session serves it.
    pub(super) fn terminate(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        if let (SessionState::Open(open), NotResumed::Unknown) = (&self.phase, why) {
            // The successor has these cursors and reports them.
            drop(open.feed.tracker.borrow_mut().take());
        }
        if self.detached.is_none() && self.transport != ClientTransport::Poll {
            self.over = why;
            self.hang_up(ctx, Some(CloseCode::Normal.code()), None, true);
        } else {
            self.finish(ctx, why);
        }
    }

    /// Handles a second successor of the session that this one resumed. With a named device, presence decides: the
    /// later connection stays and the other one is closed. A decision by the session id as well could contradict that,
    /// and the client would lose both connections.
    pub(super) fn terminate_if_superseded(&mut self, ctx: &mut Context<Session>) {
        let seated =
            matches!(&self.phase, SessionState::Open(open) if open.device.is_some()) && self.guard.is_some();
        if !seated {
            self.terminate(ctx, NotResumed::Unknown);
        }
    }

    /// Ends the session after the revocation of its login, whether attached or detached.
    pub(super) fn revoked(&mut self, ctx: &mut Context<Session>) {
        if self.detached.is_some() || self.transport == ClientTransport::Poll {
            self.finish(ctx, NotResumed::Unknown);
        } else {
            self.close(ctx, CloseCode::Banned);
        }
    }

    fn pending(&self) -> Vec<(ConversationId, u64)> {
        match &self.phase {
            SessionState::Open(open) => open.feed.tracker.borrow().pending(),
            SessionState::Greeting | SessionState::Resuming(_) => Vec::new(),
        }
    }

    fn finish(&mut self, ctx: &mut Context<Session>, why: NotResumed) {
        self.over = why;
        ctx.stop();
    }
}

impl Handler<ExportSession> for Session {
    type Result = Result<SessionSnapshot, NotResumed>;

    fn handle(&mut self, ExportSession(question): ExportSession, ctx: &mut Context<Session>) -> Self::Result {
        let SessionState::Open(open) = &mut self.phase else {
            return Err(NotResumed::Unknown);
        };
        let behind = |buffered: &BufferedEvent| (buffered.tail.clone(), buffered.covers.clone());
        let events = self.link.outbox(|outbox| {
            let events = outbox.after(question.n).map_err(|_| NotResumed::Gap)?;
            // Replayed, it would announce the end of the new connection.
            let wanted = events.filter(|(_, buffered)| !buffered.tail.starts_with(BYE));
            Ok(wanted.map(|(_, buffered)| behind(buffered)).collect())
        })?;
        let (convs, coming) = open.feed.positions();
        let (is_ready, quiet) = (open.feed.is_ready(), open.feed.hushed_messages());
        // A detached session has left presence, so the saved list applies.
        let watching = if open.watching.is_empty() {
            self.worker.presence.watching(self.tag)
        } else {
            open.watching.clone()
        };
        // An earlier copy was never used: its client came back with this session's id.
        if let Some(other) = open.exported_to.replace(question.by) {
            self.worker.sessions.cancel(other);
        }
        if let Some(parent) = open.parent.take() {
            // The client presented this session's id, so the session that it resumed can end.
            let confirmed = self.worker.sessions.clone().confirm(parent, open.sid);
            self.work(async move {
                let _mine = confirmed.await;
            });
        }
        // Before the unreported cursors are copied: the presented number confirms events, too.
        self.applied(question.n);
        let snapshot = SessionSnapshot {
            events,
            convs,
            coming,
            confirmed: is_ready,
            delivered: self.pending(),
            watching,
            quiet,
        };
        // The client is connected elsewhere. The old connection ends without a close event.
        match self.transport {
            ClientTransport::Poll => self.end_fetch(),
            ClientTransport::WebSocket | ClientTransport::EventStream if self.detached.is_none() => {
                self.detach(ctx, Some(CloseCode::Normal.code()), None, true);
            }
            ClientTransport::WebSocket | ClientTransport::EventStream => {}
        }
        // Restarts the resume timeout: the client may need this session again if the new id is lost.
        self.detached = self.detached.map(|_| Instant::now());
        self.link.request_check();
        Ok(snapshot)
    }
}

impl Handler<ConfirmTransfer> for Session {
    type Result = bool;

    fn handle(&mut self, ConfirmTransfer(by): ConfirmTransfer, ctx: &mut Context<Session>) -> Self::Result {
        let SessionState::Open(open) = &self.phase else {
            return false;
        };
        // Only the latest export counts: a discarded copy must not end this session.
        let mine = open.exported_to == Some(by);
        if mine {
            self.terminate(ctx, NotResumed::Unknown);
        }
        mine
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
