//! Changes other than messages: `create`, `invite`, `kick`, `leave`, and the cursors `read` and `recv`.

use actix::Context;
use protocol::answer::Empty;
use protocol::command::{ActOn, Create, Cursor, Leave};
use protocol::{Answer, Cid, ConvId, ErrorCode, Kind};

use super::actor::{Phase, Session};
use super::subscribe::Deliver;
use crate::conversation::Refusal;
use crate::conversation::timeline::{Command, Op};

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
        let Create {
            kind,
            cid,
            members,
            title,
        } = create;
        let Phase::Open(open) = &self.phase else { return };
        let user = open.feed.user_id().clone();
        if kind == Kind::Direct && members.len() != 1 {
            let msg = "a direct conversation has exactly one other member".to_owned();
            return self.refuse(
                id,
                Refusal {
                    code: ErrorCode::BadRequest,
                    msg,
                    retry_ms: None,
                },
            );
        }
        if !self.may_change(id) {
            return;
        }
        let conversations = self.worker.conversations.clone();
        let made = async move { conversations.create(user, cid, 0, kind, members, title).await };
        self.window.change(bytes);
        self.wait(ctx, made, move |session, ctx, result| {
            session.window.changed(bytes);
            match result {
                Ok(done) => session.show(ctx, done.conv, Some(0), Deliver::Answer(id)),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }

    /// `invite`.
    pub(super) fn invite(&mut self, ctx: &mut Context<Session>, id: Option<i64>, act: ActOn, bytes: usize) {
        let ActOn { c, cid, who } = act;
        self.change(ctx, id, c, Some(cid), Op::Invite { who }, bytes);
    }

    /// `kick`.
    pub(super) fn kick(&mut self, ctx: &mut Context<Session>, id: Option<i64>, act: ActOn, bytes: usize) {
        let ActOn { c, cid, who } = act;
        self.change(ctx, id, c, Some(cid), Op::Kick { who }, bytes);
    }

    /// `leave`.
    pub(super) fn leave_conversation(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        leave: Leave,
        bytes: usize,
    ) {
        self.change(ctx, id, leave.c, Some(leave.cid), Op::Leave, bytes);
    }

    /// `read`.
    pub(super) fn read(&mut self, ctx: &mut Context<Session>, id: Option<i64>, cursor: Cursor, bytes: usize) {
        self.change(ctx, id, cursor.c, None, Op::Read { s: cursor.s }, bytes);
    }

    /// `recv`.
    pub(super) fn received(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        cursor: Cursor,
        bytes: usize,
    ) {
        self.change(ctx, id, cursor.c, None, Op::Delivered { s: cursor.s }, bytes);
    }

    /// Submits a change and answers `ack`, or `ok` where there is no `cid`.
    fn change(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        conv: ConvId,
        cid: Option<Cid>,
        op: Op,
        bytes: usize,
    ) {
        if !self.may_change(id) {
            return;
        }
        let Phase::Open(open) = &self.phase else { return };
        // The session that reads needs no word of its own cursor.
        let skip = if cid.is_none() { self.tag } else { 0 };
        let command = Command {
            conv,
            user: open.feed.user_id().clone(),
            cid: cid.clone(),
            skip,
            op,
        };
        let done = self.worker.conversations.submit(command);
        self.window.change(bytes);
        self.wait(ctx, done, move |session, _ctx, result| {
            session.window.changed(bytes);
            match (result, cid) {
                (Ok(done), Some(cid)) => session.acknowledge(id, cid, done),
                (Ok(_), None) => session.answer(id, &Answer::Ok(Empty {})),
                (Err(refusal), _) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }
}
