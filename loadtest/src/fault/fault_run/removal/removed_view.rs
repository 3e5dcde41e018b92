//! Events that one session of a removal has received, and the decision which of them it must not receive.

use protocol::ConversationId;
use serde_json::Value;

use crate::oracle::ViolationKind;

/// Events of the conversation that a session has received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RemovedView {
    /// Last applied seq; `None` after a `resync`, after which a client would send a request.
    pub(super) last: Option<u64>,
    pub(super) received: u64,
}

// === impl RemovedView ===

impl RemovedView {
    /// Processes an event. An event above the removal is a violation for a removed member, a gap without `resync` for
    /// the other.
    pub(super) fn take(
        &mut self,
        event: &Value,
        conversation: &ConversationId,
        removed_at: Option<u64>,
    ) -> Result<(), (ViolationKind, u64, String)> {
        if event["t"] == "resync" {
            self.last = None;
        }
        let Some(s) = event["s"]
            .as_u64()
            .filter(|_| event["c"] == conversation.as_str())
        else {
            return Ok(());
        };
        self.received += 1;
        if let Some(k) = removed_at {
            let detail = || format!("it was removed at s={k}");
            return if s > k {
                Err((ViolationKind::AfterRemoval, s, detail()))
            } else {
                Ok(())
            };
        }
        // A repeated or older event is allowed: only a jump forward loses events.
        let hole = self.last.filter(|last| s > last + 1);
        self.last = Some(s.max(self.last.unwrap_or(0)));
        hole.map_or(Ok(()), |last| {
            Err((
                ViolationKind::LiveHole,
                s,
                format!("received s={s} after s={last}"),
            ))
        })
    }
}
