//! Step 3: a `send` goes past the session's rules, rate, size and order, and on to its conversation.
//!
//! The step before is [`protocol::command`], the step after [`crate::conversation::route`], whose answer comes back here.

use std::time::Instant;

use actix::Context;
use protocol::command::{Send, Target};
use protocol::{Answer, Cid, ConvId, ErrorCode};

use super::actor::{Phase, Session};
use super::dispatch::{millis_up, too_fast};
use crate::commands::Change;
use crate::conversation::{Done, Refusal};

// === impl Session: publish ===

impl Session {
    /// `send`.
    pub(super) fn publish(&mut self, ctx: &mut Context<Session>, id: Option<i64>, send: Send, bytes: usize) {
        let Phase::Open(open) = &self.phase else { return };
        let user = open.feed.user_id().clone();
        let conv = match send.target() {
            Some(Target::Conv(conv)) => conv.clone(),
            Some(Target::User(to)) => ConvId::direct(&user, to),
            // Refused when it was decoded.
            None => return,
        };
        let (cid, direct, echo) = (send.cid.clone(), send.to.is_some(), send.echo);
        let now = Instant::now();
        if let Err(wait) = self.order.admit(&conv, &cid, now) {
            let msg = "an earlier message was refused: send that one again first".to_owned();
            return self.refuse(
                id,
                Refusal {
                    code: ErrorCode::Busy,
                    msg,
                    retry_ms: Some(millis_up(wait)),
                },
            );
        }
        if let Err(wait) = self.pay(now) {
            self.order.refuse(&conv, &cid, now);
            return self.refuse(id, too_fast(wait));
        }
        let change = match Change::send(&user, send, self.worker.config.limits.body_bytes) {
            Ok(change) => change,
            Err(refusal) => return self.refuse(id, refusal),
        };
        let fresh = !open.feed.follows(&conv);
        let opens = direct && fresh;
        let feed = open.feed.clone();
        let skip = if echo {
            0
        } else {
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
                    // It may have become a message, or becomes one when it is sent again.
                    Err(_) => {}
                }
            }
            match result {
                // One that is new waits for its subscription: an answer to the message may come at once.
                Ok(done) if opens => session.follow_and_acknowledge(ctx, id, cid, done),
                Ok(done) => {
                    session.acknowledge(id, cid, done);
                    if fresh {
                        session.bring_in(ctx, conv);
                    }
                }
                Err(refusal) => {
                    if refusal.code.temporary() {
                        session.order.refuse(&conv, &cid, Instant::now());
                    }
                    session.refuse(id, refusal);
                }
            }
            session.pump_soon();
        });
    }

    /// `ack`.
    pub(super) fn acknowledge(&self, id: Option<i64>, cid: Cid, done: Done) {
        self.answer(id, &Answer::Ack(done.ack(cid)));
    }

    /// Looks at the backlog again when the current command is through.
    pub(super) fn pump_soon(&self) {
        self.link.nudge();
    }
}
