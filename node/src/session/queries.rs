//! Questions: `open`, `list`, `hist`, `members` and `sync`.

use std::rc::Rc;

use actix::Context;
use protocol::command::{Hist, List, Members, Open, Sync};
use protocol::{Answer, Command, UserId, cost};

use super::actor::{Phase, Session};
use super::subscribe::Deliver;
use super::worker::Worker;
use crate::commands::questions;
use crate::conversation::Refusal;

// === impl Session: queries ===

impl Session {
    /// `open`.
    pub(super) fn open_conversation(&mut self, ctx: &mut Context<Session>, id: Option<i64>, open: Open) {
        if self.may(id) {
            self.show(ctx, open.c, open.have, Deliver::Answer(id));
        }
    }

    /// `list`.
    pub(super) fn list(&mut self, ctx: &mut Context<Session>, id: Option<i64>, list: List) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::list(&worker.conversations, &user, list, &worker.config.limits).await;
            page.map(Answer::Inbox)
        });
    }

    /// `hist`.
    pub(super) fn history(&mut self, ctx: &mut Context<Session>, id: Option<i64>, hist: Hist) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::history(&worker.conversations, &user, hist, &worker.config.limits).await;
            page.map(Answer::Hist)
        });
    }

    /// `members`.
    pub(super) fn members(&mut self, ctx: &mut Context<Session>, id: Option<i64>, members: Members) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::members(&worker.conversations, &user, members, &worker.config.limits).await;
            page.map(Answer::Members)
        });
    }

    /// `sync`: answered once the session's subscriptions are active, so that nothing falls between the two.
    pub(super) fn sync(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: Sync) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if open.feed.is_settled() {
            self.sync_now(ctx, id, sync);
        } else if open.syncs.len() < 4 {
            open.syncs.push((id, sync));
        } else {
            self.refuse(
                id,
                super::dispatch::too_fast(std::time::Duration::from_millis(500)),
            );
        }
    }

    /// Runs the sync requests that had to wait.
    pub(super) fn run_syncs(&mut self, ctx: &mut Context<Session>) {
        let syncs = match &mut self.phase {
            Phase::Open(open) if open.feed.is_settled() => std::mem::take(&mut open.syncs),
            _ => return,
        };
        for (id, sync) in syncs {
            let command = Command::Sync(sync);
            self.cost = cost(&command);
            if let Command::Sync(sync) = command {
                self.sync_now(ctx, id, sync);
            }
        }
    }

    fn sync_now(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: Sync) {
        self.ask(ctx, id, |worker, user| async move {
            let delta = questions::sync(&worker.conversations, &user, sync, &worker.config.limits).await;
            delta.map(Answer::Delta)
        });
    }

    /// Asks, and answers with what comes.
    fn ask<F: Future<Output = Result<Answer, Refusal>> + 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        question: impl FnOnce(Rc<Worker>, UserId) -> F,
    ) {
        if !self.may(id) {
            return;
        }
        let Phase::Open(open) = &self.phase else { return };
        let answer = question(self.worker.clone(), open.feed.user_id().clone());
        self.window.question();
        self.wait(ctx, answer, move |session, _ctx, result| {
            session.window.answered();
            match result {
                Ok(answer) => session.answer(id, &answer),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }
}
