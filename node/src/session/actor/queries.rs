//! Commands with a response of their own: the queries, of which `open` subscribes too, and the changes `create` and
//! `me`.

use std::rc::Rc;

use actix::Context;
use protocol::command::{CreateConversation, OpenConversation, UpdateProfile};
use protocol::{Response, UserId};

use super::Session;
use super::pending_snapshot::SnapshotTarget;
use crate::commands::{ClientQuery, ClientQueryContext, changes};
use crate::session::retry_budget::with_retries;
use crate::session::worker_context::WorkerContext;
use crate::shard_client::{CommandError, ShardClient};

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
        let run =
            |conversations, user, create| async move { changes::create(&conversations, user, create).await };
        self.run_change(ctx, (id, bytes), create, run, move |session, ctx, done| {
            session.show(ctx, done.conv, Some(0), SnapshotTarget::Made(id));
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
        let run = |conversations, user, me| async move { changes::me(&conversations, user, me).await };
        self.run_change(ctx, (id, bytes), me, run, move |session, _ctx, me| {
            session.answer(id, &Response::Me(me));
        });
    }

    /// Charges and runs a change with a response of its own, and continues with `then` once it is done.
    fn run_change<C: Clone + 'static, T: 'static, F: Future<Output = Result<T, CommandError>> + 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        (id, bytes): (Option<i64>, usize),
        command: C,
        run: impl Fn(ShardClient, UserId, C) -> F + 'static,
        then: impl FnOnce(&mut Session, &mut Context<Session>, T) + 'static,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        if !self.may(id) {
            return;
        }
        let command = (self.worker.conversations.clone(), user, command);
        let done = with_retries(
            self.policy.reader.temporary,
            command,
            move |(conversations, user, command)| run(conversations, user, command),
        );
        self.limits.begin_change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.limits.end_change(bytes);
            match result {
                Ok(done) => then(session, ctx, done),
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
        let command = (self.worker.clone(), feed.user_id().clone(), question);
        let run = |(worker, user, question): (Rc<WorkerContext>, UserId, Q)| async move {
            let context = ClientQueryContext {
                conversations: &worker.conversations,
                sessions: &worker.sessions,
                user: &user,
            };
            question.run(&context).await
        };
        let answer = with_retries(self.policy.reader.temporary, command, run);
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
