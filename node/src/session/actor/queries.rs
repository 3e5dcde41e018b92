//! Commands with a response of their own: the queries `open`, `list`, `hist`, `members` and `sync`, and the changes
//! `create` and `me`.

use std::rc::Rc;

use actix::Context;
use protocol::command::{
    CreateConversation, GetHistory, ListConversations, ListMembers, OpenConversation, SyncRequest,
    UpdateProfile,
};
use protocol::{Response, UserId};

use super::Session;
use super::pending_snapshot::SnapshotTarget;
use crate::commands::{changes, questions};
use crate::session::worker_context::WorkerContext;
use crate::shard_client::CommandError;

// === impl Session: queries ===

impl Session {
    pub(super) fn open_conversation(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        open: OpenConversation,
    ) {
        if self.may(id) {
            self.show(ctx, open.conversation, open.have, SnapshotTarget::Answer(id));
        }
    }

    pub(super) fn list(&mut self, ctx: &mut Context<Session>, id: Option<i64>, list: ListConversations) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::list(&worker.conversations, &user, list).await;
            page.map(Response::Inbox)
        });
    }

    pub(super) fn history(&mut self, ctx: &mut Context<Session>, id: Option<i64>, hist: GetHistory) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::history(&worker.conversations, &user, hist).await;
            page.map(Response::Hist)
        });
    }

    pub(super) fn members(&mut self, ctx: &mut Context<Session>, id: Option<i64>, members: ListMembers) {
        self.ask(ctx, id, |worker, user| async move {
            let page = questions::members(&worker.conversations, &user, members).await;
            page.map(Response::Members)
        });
    }

    /// Handles `sync`: the response waits for the subscriptions to the page's conversations, so that no event falls
    /// between the page and the live events.
    pub(super) fn sync(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: SyncRequest) {
        self.ask(ctx, id, |worker, user| async move {
            let delta = questions::sync(&worker.conversations, &worker.sessions, &user, sync).await;
            delta.map(Response::Delta)
        });
    }

    /// Handles `create`: binds the `cid` to a conversation, creates it, and sends it to the client.
    pub(super) fn create_conversation(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        create: CreateConversation,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        if !self.may(id) {
            return;
        }
        let conversations = self.worker.conversations.clone();
        let made = async move { changes::create(&conversations, user, create).await };
        self.limits.begin_change(bytes);
        self.wait(ctx, made, move |session, ctx, result| {
            session.limits.end_change(bytes);
            match result {
                Ok(done) => session.show(ctx, done.conv, Some(0), SnapshotTarget::Made(id)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }

    /// Handles `me`: changes the given settings and returns all of them.
    pub(super) fn own_settings(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        me: UpdateProfile,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        if !self.may(id) {
            return;
        }
        let conversations = self.worker.conversations.clone();
        let change = async move { changes::me(&conversations, user, me).await };
        self.limits.begin_change(bytes);
        self.wait(ctx, change, move |session, _, result| {
            session.limits.end_change(bytes);
            match result {
                Ok(me) => session.answer(id, &Response::Me(me)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }

    /// Runs a query and sends its result.
    fn ask<F: Future<Output = Result<Response, CommandError>> + 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        question: impl FnOnce(Rc<WorkerContext>, UserId) -> F,
    ) {
        if !self.may(id) {
            return;
        }
        let Some(feed) = self.subscriber() else {
            return;
        };
        let answer = question(self.worker.clone(), feed.user_id().clone());
        // Counted until the response: each may be a page of large messages that stays in memory.
        self.limits.begin_query();
        self.wait(ctx, answer, move |session, _ctx, result| {
            session.limits.end_query();
            match result {
                Ok(answer) => session.answer(id, &answer),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }
}
