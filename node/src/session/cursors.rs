//! Delivered cursors: what the client confirms is collected for `session.delivered_ms` and then reported per
//! conversation.

use std::time::Instant;

use actix::Context;
use protocol::ConversationId;

use super::actor::{Session, SessionState};
use crate::conversation::state_machine::{ShardCommand, ShardOp};

// === impl Session: cursors ===

impl Session {
    /// Confirms all events up to number `n`.
    pub(super) fn applied(&mut self, n: u64) {
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        self.link.outbox(|outbox| outbox.confirm(n));
        if open.feed.tracker.borrow_mut().applied(n) && self.report_at.is_none() {
            self.report_at = Some(Instant::now() + self.worker.config.session.delivered_ms.duration());
            // The check that follows sets the new deadline in the worker's clock.
            self.link.request_check();
        }
    }

    /// Adds the unreported cursors of the resumed session.
    pub(super) fn inherit(&mut self, delivered: Vec<(ConversationId, u64)>) {
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        let wait = self.worker.config.session.delivered_ms.duration();
        for (conv, s) in delivered {
            if open.feed.tracker.borrow_mut().confirm(conv, s) {
                self.report_at.get_or_insert(Instant::now() + wait);
            }
        }
        self.link.request_check();
    }

    /// Reports the collected cursors.
    pub(super) fn report(&mut self, ctx: &mut Context<Session>) {
        self.report_at = None;
        let SessionState::Open(open) = &self.phase else {
            return;
        };
        if open.exported_to.is_some() {
            // The session that resumed this one has these cursors and reports them.
            return;
        }
        let (user, cursors) = (open.feed.user_id().clone(), open.feed.tracker.borrow_mut().take());
        for (conv, s) in cursors {
            let op = ShardOp::Delivered { s };
            let command = ShardCommand {
                conv: conv.clone(),
                user: user.clone(),
                cid: None,
                // No receipt of a session's own cursor is needed.
                skip: self.tag,
                op,
            };
            let done = self.worker.conversations.submit(command);
            self.wait(ctx, done, move |session, _ctx, result| {
                let SessionState::Open(open) = &session.phase else {
                    return;
                };
                // A permanent refusal, for example after a removal from the conversation, drops the cursor.
                if result.is_err_and(|refusal| refusal.code.temporary()) {
                    open.feed.tracker.borrow_mut().unreported(conv, s);
                    session.report_at.get_or_insert(
                        Instant::now() + session.worker.config.session.delivered_ms.duration(),
                    );
                    session.link.request_check();
                }
            });
        }
    }
}
