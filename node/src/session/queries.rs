//! Questions: `open`, `list`, `hist`, `members` and `sync`.

use std::rc::Rc;

use actix::Context;
use protocol::command::{Hist, List, Members, Open, Sync};
use protocol::{Answer, UserId};

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

    /// `sync`: answered once the subscriptions to the page's conversations stand, so that nothing falls between the two.
    pub(super) fn sync(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: Sync) {
        self.ask(ctx, id, |worker, user| async move {
            let limits = &worker.config.limits;
            let delta = questions::sync(&worker.conversations, &worker.sessions, &user, sync, limits).await;
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
