//! Handling of `send`: the command passes the session's checks of rate, size and order, and is submitted to its conversation.
//! The result of the command is handled here too.
//!
//! Spine: step 3 of 13. Previous: `protocol: command`. Next: `node: conversation/shard_client/command_queue`.

use std::time::Instant;

use actix::Context;
use protocol::command::{SendMessage, SendTarget};
use protocol::{ClientMessageId, ConversationId, ErrorCode, Response};

use super::actor::{Session, SessionState};
use super::dispatch::{millis_up, too_fast};
use crate::commands::ConversationChange;
use crate::conversation::{CommandAck, CommandError};

// === impl Session: send ===

impl Session {
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        send: SendMessage,
        bytes: usize,
    ) {
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        let user = open.feed.user_id().clone();
        let conv = match send.target() {
            Some(SendTarget::Conv(conv)) => conv.clone(),
            Some(SendTarget::User(to)) => ConversationId::direct(&user, to),
            // Refused by the decoder.
            None => return,
        };
        let (cid, direct, echo) = (send.cid.clone(), send.to.is_some(), send.echo);
        let now = Instant::now();
        // Before the rate limit: a send behind a refused one must not overtake it, even if it could be charged.
        if let Err(wait) = self.order.admit(&conv, &cid, now) {
            let msg = "an earlier message was refused: send it again first".to_owned();
            return self.refuse(
                id,
                CommandError {
                    code: ErrorCode::Busy,
                    msg,
                    retry_ms: Some(millis_up(wait)),
                },
            );
        }
        if let Err(wait) = self.pay(now) {
            // Refused here as well as by an owner: later sends must not overtake this one.
            self.order.refuse(&conv, &cid, now);
            return self.refuse(id, too_fast(wait));
        }
        let change = match ConversationChange::send(&user, send, self.worker.config.limits.body_bytes) {
            Ok(change) => change,
            Err(refusal) => return self.refuse(id, refusal),
        };
        let fresh = !open.feed.follows(&conv);
        let opens = direct && fresh;
        let feed = open.feed.clone();
        let skip = if echo {
            0
        } else {
            // Before the submit: the event may arrive earlier than the result.
            feed.hush(&conv, &cid);
            self.tag
        };
        let done = change.submit(&self.worker.conversations, user, skip);
        self.window.change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.window.changed(bytes);
            session
                .worker
                .metrics
                .send_seconds
                .observe(now.elapsed().as_secs_f64());
            if !echo {
                match &result {
                    Ok(done) => feed.hushed(&conv, &cid, done.s, opens),
                    Err(refusal) if !refusal.code.temporary() => feed.unhush(&conv, &cid),
                    // Temporary: the message may exist already, or will when the client repeats it.
                    Err(_) => {}
                }
            }
            match result {
                // A new direct conversation is subscribed to before the `ack`: a reply may follow at once.
                Ok(done) if opens => session.follow_and_acknowledge(ctx, id, cid, done),
                Ok(done) => {
                    session.acknowledge(id, cid, done);
                    if fresh {
                        session.bring_in(ctx, conv);
                    }
                }
                Err(refusal) => {
                    // Holds later sends until the client repeats this one.
                    if refusal.code.temporary() {
                        session.order.refuse(&conv, &cid, Instant::now());
                    }
                    session.refuse(id, refusal);
                }
            }
            session.schedule_backlog();
        });
    }

    pub(super) fn acknowledge(&self, id: Option<i64>, cid: ClientMessageId, done: CommandAck) {
        self.answer(id, &Response::Ack(done.ack(cid)));
    }

    /// Schedules another pass over the backlog.
    pub(super) fn schedule_backlog(&self) {
        self.link.request_check();
    }
}
