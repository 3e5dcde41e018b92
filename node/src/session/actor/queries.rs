//! Commands with a response of their own: the queries, of which `open` subscribes too, and the changes `create` and
//! `me`.

use actix::Context;
use protocol::Response;
use protocol::command::{CreateConversation, OpenConversation, UpdateProfile};

use super::Session;
use super::pending_snapshot::SnapshotTarget;
use crate::commands::{ClientQuery, ClientQueryContext, changes};
use crate::session::retry_budget::with_retries;

// === impl Session: queries ===

impl Session {
    pub(super) fn open_conversation(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        open: OpenConversation,
    ) {
        if self.may(id) {
            self.show(ctx, open.conversation, open.have, SnapshotTarget::Response(id));
        }
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
        let made = with_retries(self.policy.reader.temporary, move || {
            let (conversations, user, create) = (conversations.clone(), user.clone(), create.clone());
            async move { changes::create(&conversations, user, create).await }
        });
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
        let change = with_retries(self.policy.reader.temporary, move || {
            let (conversations, user, me) = (conversations.clone(), user.clone(), me.clone());
            async move { changes::me(&conversations, user, me).await }
        });
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

    /// Charges and runs a query, and sends its result as `response`.
    pub(super) fn ask<Q: ClientQuery + Clone + 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        question: Q,
        response: fn(Q::Response) -> Response,
    ) {
        if !self.may(id) {
            return;
        }
        let Some(feed) = self.subscriber() else {
            return;
        };
        let (worker, user) = (self.worker.clone(), feed.user_id().clone());
        let answer = with_retries(self.policy.reader.temporary, move || {
            let (worker, user, question) = (worker.clone(), user.clone(), question.clone());
            async move {
                let context = ClientQueryContext {
                    conversations: &worker.conversations,
                    sessions: &worker.sessions,
                    user: &user,
                };
                question.run(&context).await
            }
        });
        // Counted until the response: each may be a page of large messages that stays in memory.
        self.limits.begin_query();
        self.wait(ctx, answer, move |session, _ctx, result| {
            session.limits.end_query();
            match result {
                Ok(answer) => session.answer(id, &response(answer)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }
}
