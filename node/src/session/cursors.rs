//! Delivered cursors: what the client confirms is collected for a while and then reported per
//! conversation.

use std::time::Instant;

use actix::Context;

use super::actor::Session;
use crate::state_machine::{CommandOrigin, ConversationOp};

// === impl Session: cursors ===

impl Session {
    /// Reports the collected cursors.
    pub(super) fn report(&mut self, ctx: &mut Context<Session>) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        if self.lifecycle.is_exported() {
            // The session that resumed this one has these cursors and reports them.
            return self.delivery.cancel_report();
        }
        let (user, cursors) = (feed.user_id().clone(), self.delivery.take_cursors());
        for (conv, s) in cursors {
            let op = ConversationOp::Delivered { s };
            let origin = CommandOrigin {
                user: user.clone(),
                cid: None,
                // No receipt of a session's own cursor is needed.
                exclude_session: self.tag,
            };
            let done = self.worker.conversations.submit(conv.clone(), origin, op);
            self.wait(ctx, done, move |session, _ctx, result| {
                // A permanent refusal, for example after a removal from the conversation, drops the cursor.
                if result.is_err_and(|refusal| refusal.code.temporary()) {
                    session.delivery.restore_cursor(conv, s, Instant::now());
                }
            });
        }
    }
}
