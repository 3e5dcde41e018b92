//! Handling of `send`: the command passes the session's checks of rate, size and order, and is submitted to its conversation.
//! The result of the command is handled here too.
//!
//! Spine: step 3 of 13. Previous: `protocol: command`. Next: `node: shard_client/command_queue`.
//!
//! Queue: the session's backlog (`intake`) in front of this step. Bound: the commands of one read of the socket. While
//! it holds a command the reader does not read, so TCP slows the client down. It has no metric, because it never holds
//! more than one read.

use std::time::Instant;

use actix::Context;
use protocol::command::{SendMessage, SendTarget};
use protocol::{ClientMessageId, ConversationId, Response};

use super::actor::Session;
use crate::commands::ConversationChange;
use crate::shard_client::CommandAck;

// === impl Session: send ===

impl Session {
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        send: SendMessage,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        let conv = match send.target() {
            Some(SendTarget::Conv(conv)) => conv.clone(),
            Some(SendTarget::User(to)) => ConversationId::direct(&user, to),
            // Refused by the decoder.
            None => return,
        };
        let (cid, direct, echo) = (send.cid.clone(), send.to.is_some(), send.echo);
        let now = Instant::now();
        if let Err(refusal) = self.limits.admit_send(&conv, &cid, now) {
            return self.refuse(id, refusal);
        }
        let change =
            match ConversationChange::send(&user, send, self.worker.config.limits.max_body_size.as_usize()) {
                Ok(change) => change,
                Err(refusal) => return self.refuse(id, refusal),
            };
        let fresh = !feed.follows(&conv);
        let opens = direct && fresh;
        let skip = if echo {
            0
        } else {
            // Before the submit: the event may arrive earlier than the result.
            feed.hush(&conv, &cid);
            self.tag
        };
        let done = change.submit(&self.worker.conversations, user, skip);
        self.limits.begin_change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.limits.end_change(bytes);
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
                        session.limits.hold_sends(&conv, &cid, Instant::now());
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
