//! Changes other than messages: `create`, membership and roles, settings, blocks, and cursors.

use actix::Context;
use protocol::answer::OkResponse;
use protocol::command::{CreateConversation, UpdateProfile};
use protocol::{ClientCommand, Response};

use super::actor::Session;
use super::subscribe::SnapshotTarget;
use crate::commands::{ConversationChange, changes};
use crate::state_machine::ConversationOp;

// === impl Session: membership ===

impl Session {
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

    /// Submits a change and responds with `ack`, or with `ok` if the command has no `cid`.
    pub(super) fn change(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        command: ClientCommand,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        let change = match command {
            ClientCommand::Edit(edit) => {
                ConversationChange::edit(edit, self.worker.config.limits.max_body_size.as_usize())
            }
            ClientCommand::Block(block) => Ok(ConversationChange::block(&user, block.who, true)),
            ClientCommand::Unblock(block) => Ok(ConversationChange::block(&user, block.who, false)),
            command => match ConversationChange::of(command) {
                Some(change) => Ok(change),
                None => return,
            },
        };
        let change = match change {
            Ok(change) => change,
            Err(refusal) => return self.refuse(id, refusal),
        };
        if !self.may(id) {
            return;
        }
        let cid = change.cid.clone();
        // A session needs no event of its own cursors and settings.
        let quiet = cid.is_none() || matches!(change.op, ConversationOp::Set { .. });
        let skip = if quiet { self.tag } else { 0 };
        let joins = matches!(change.op, ConversationOp::Join);
        let done = change.submit(&self.worker.conversations, user, skip);
        self.limits.begin_change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.limits.end_change(bytes);
            match (result, cid) {
                // The `ack` waits for the subscription, so that no event behind it is missed.
                (Ok(done), Some(cid)) if joins => session.follow_and_acknowledge(ctx, id, cid, done),
                (Ok(done), Some(cid)) => session.acknowledge(id, cid, done),
                (Ok(_), None) => session.answer(id, &Response::Ok(OkResponse {})),
                (Err(refusal), _) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }
}
