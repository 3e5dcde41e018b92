//! Changes other than messages: `create`, who is a member and as what, settings, blocks, and the cursors.

use actix::Context;
use protocol::answer::Empty;
use protocol::command::{Create, Me};
use protocol::{Answer, Command};

use super::actor::{Phase, Session};
use super::subscribe::Deliver;
use crate::commands::{Change, changes};
use crate::conversation::timeline::Op;

// === impl Session: membership ===

impl Session {
    /// `create`: fixes which conversation the `cid` makes, makes it, and shows it.
    pub(super) fn create_conversation(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        create: Create,
        bytes: usize,
    ) {
        let Phase::Open(open) = &self.phase else { return };
        let user = open.feed.user_id().clone();
        if !self.may(id) {
            return;
        }
        let conversations = self.worker.conversations.clone();
        let made = async move { changes::create(&conversations, user, create).await };
        self.window.change(bytes);
        self.wait(ctx, made, move |session, ctx, result| {
            session.window.changed(bytes);
            match result {
                Ok(done) => session.show(ctx, done.conv, Some(0), Deliver::Made(id)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }

    /// `me`: changes what is given, and shows all.
    pub(super) fn own_settings(&mut self, ctx: &mut Context<Session>, id: Option<i64>, me: Me, bytes: usize) {
        let Phase::Open(open) = &self.phase else { return };
        let user = open.feed.user_id().clone();
        if !self.may(id) {
            return;
        }
        let conversations = self.worker.conversations.clone();
        let shown = async move { changes::me(&conversations, user, me).await };
        self.window.change(bytes);
        self.wait(ctx, shown, move |session, _, result| {
            session.window.changed(bytes);
            match result {
                Ok(me) => session.answer(id, &Answer::Me(me)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }

    /// Submits a change and answers `ack`, or `ok` where there is no `cid`.
    pub(super) fn change(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        command: Command,
        bytes: usize,
    ) {
        let Phase::Open(open) = &self.phase else { return };
        let user = open.feed.user_id().clone();
        let change = match command {
            Command::Edit(edit) => Change::edit(edit, self.worker.config.limits.body_bytes),
            Command::Block(block) => Ok(Change::block(&user, block.who, true)),
            Command::Unblock(block) => Ok(Change::block(&user, block.who, false)),
            command => match Change::of(command) {
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
        // The session that reads needs no word of its own cursor, nor of its own wishes.
        let quiet = cid.is_none() || matches!(change.op, Op::Set { .. });
        let skip = if quiet { self.tag } else { 0 };
        let joins = matches!(change.op, Op::Join);
        let done = change.submit(&self.worker.conversations, user, skip);
        self.window.change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.window.changed(bytes);
            match (result, cid) {
                (Ok(done), Some(cid)) if joins => session.follow_and_acknowledge(ctx, id, cid, done),
                (Ok(done), Some(cid)) => session.acknowledge(id, cid, done),
                (Ok(_), None) => session.answer(id, &Answer::Ok(Empty {})),
                (Err(refusal), _) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }
}
