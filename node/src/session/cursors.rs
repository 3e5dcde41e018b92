//! Delivered cursors: what the client confirms by `hb` is collected for a while and then reported per conversation.

use std::time::Instant;

use actix::Context;
use protocol::ConvId;

use super::actor::{Phase, Session};
use crate::conversation::timeline::{Command, Op};

// === impl Session: cursors ===

impl Session {
    /// The client has applied every event up to number `n`.
    pub(super) fn applied(&mut self, n: u64) {
        let Phase::Open(open) = &self.phase else { return };
        self.link.outbox(|outbox| outbox.confirm(n));
        if open.feed.arrivals.borrow_mut().applied(n) && self.report_at.is_none() {
            self.report_at = Some(Instant::now() + self.worker.config.session.delivered_ms.duration());
            // The clock has to know of the new deadline.
            self.link.nudge();
        }
    }

    /// Reports what another session of the client had collected.
    pub(super) fn inherit(&mut self, delivered: Vec<(ConvId, u64)>) {
        let Phase::Open(open) = &self.phase else { return };
        let wait = self.worker.config.session.delivered_ms.duration();
        for (conv, s) in delivered {
            if open.feed.arrivals.borrow_mut().confirm(conv, s) {
                self.report_at.get_or_insert(Instant::now() + wait);
            }
        }
        self.link.nudge();
    }

    /// Reports what was collected.
    pub(super) fn report(&mut self, ctx: &mut Context<Session>) {
        self.report_at = None;
        let Phase::Open(open) = &self.phase else { return };
        if open.lent.is_some() {
            // Who goes on with the session reports.
            return;
        }
        let (user, cursors) = (
            open.feed.user_id().clone(),
            open.feed.arrivals.borrow_mut().take(),
        );
        for (conv, s) in cursors {
            let op = Op::Delivered { s };
            let command = Command {
                conv: conv.clone(),
                user: user.clone(),
                cid: None,
                skip: self.tag,
                op,
            };
            let done = self.worker.conversations.submit(command);
            self.wait(ctx, done, move |session, _ctx, result| {
                let Phase::Open(open) = &session.phase else { return };
                if result.is_err_and(|refusal| refusal.code.temporary()) {
                    open.feed.arrivals.borrow_mut().unreported(conv, s);
                    session.report_at.get_or_insert(
                        Instant::now() + session.worker.config.session.delivered_ms.duration(),
                    );
                    session.link.nudge();
                }
            });
        }
    }
}
