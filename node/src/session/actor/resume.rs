//! Resume: fetches the snapshot of another session, replays the missed events, and follows each conversation from the
//! snapshot's position.
//!
//! The client receives `resumed:true` as soon as the snapshot has arrived. Events between the snapshot and the first
//! event of the new subscription are read from the log and delivered in order, however long that takes. So nothing is
//! missing. See docs/delivery.md, "The way to the receivers".

use std::time::Instant;

use actix::Context;

use super::Session;
use super::open::SessionSetup;
use crate::rpc::SessionId;
use crate::rpc::resume::{ExportRequest, SessionSnapshot};
use crate::session::catch_up;
use crate::session::delivery::BufferedEvent;
use crate::session::ready::ResumeResult;

// === impl Session: resume ===

impl Session {
    /// Resumes another session behind event `n`; `None`: behind the last event that its client has confirmed. No command is dispatched before its snapshot has arrived.
    pub(super) fn resume(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        sid: SessionId,
        n: Option<u64>,
    ) {
        let question = ExportRequest {
            sid,
            user: opening.who.user.clone(),
            device: opening.who.device.clone(),
            n,
            by: opening.sid,
        };
        self.lifecycle.begin_resume();
        self.intake.pause();
        let snapshot = self.worker.sessions.clone().resume(question);
        self.wait(ctx, snapshot, move |session, ctx, snapshot| {
            // The connection closed during the fetch. Nothing was confirmed, so the client can resume the old session
            // again.
            if session.link.is_closed() {
                return;
            }
            session.intake.resume();
            match snapshot {
                Ok(snapshot) => session.carry_on(ctx, id, opening, sid, snapshot),
                Err(why) => session.rebuild(ctx, id, opening, why),
            }
            session.schedule_backlog();
        });
    }

    fn carry_on(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        parent: SessionId,
        snapshot: SessionSnapshot,
    ) {
        let feed = opening.feed.clone();
        self.resumes = snapshot.resumes.saturating_add(1);
        // Before `ready`, which reports the number that the next event continues.
        self.link.outbox(|outbox| outbox.start_at(snapshot.n));
        // Before `ready`, too: a framing reads the state when it writes `ready`, and needs it for the events behind.
        self.link.restore_gateway_state(snapshot.gateway_state);
        self.open_as(ctx, id, opening, Some(parent), ResumeResult::Resumed);
        // Behind `ready`: the client expects event `n + 1` next.
        for (tail, covers) in snapshot.events {
            feed.replay(BufferedEvent { tail, covers });
        }
        // This session has another tag, so its predecessor's own messages are recognised by their ids.
        for (conv, cid) in &snapshot.quiet {
            feed.hush(conv, cid);
        }
        self.delivery.inherit(snapshot.delivered, Instant::now());
        self.watch_on(snapshot.watching);
        let carrying = catch_up::carry_on(
            self.worker.clone(),
            feed,
            snapshot.convs,
            snapshot.coming,
            snapshot.confirmed,
        );
        self.work(carrying);
    }

    /// Confirms the transfer once the client has used this session's id, which ends the resumed session. Commands are
    /// paused until the confirmation.
    pub(super) fn confirm(&mut self, ctx: &mut Context<Session>) {
        let Some((parent, own)) = self.lifecycle.confirm_resume() else {
            return;
        };
        let confirmed = self.worker.sessions.clone().confirm(parent, own);
        // If another successor was confirmed first, this session may have to end before it executes anything.
        self.intake.pause();
        self.wait(ctx, confirmed, |session, ctx, mine| {
            session.intake.resume();
            if !mine {
                session.terminate_if_superseded(ctx);
            }
            session.schedule_backlog();
        });
    }
}
