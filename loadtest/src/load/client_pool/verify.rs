//! Verification after the load: every message is acknowledged and delivered, every log and conversation list is read
//! again. A missed deadline is a violation.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::sync::oneshot;

use super::{ClientPool, SET_UP_AT_ONCE, all};
use crate::load::HarnessCommand;
use crate::oracle::ViolationKind;
use crate::pacing::LoadPace;
use crate::payload::ClientIx;
use crate::spec::PlannedConversation;

// === impl ClientPool: verify ===

impl ClientPool {
    /// Waits until no message is unacknowledged. Returns `false` after `patience`.
    pub(crate) async fn drained(&self, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            if self.unanswered().await == 0 {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads every member's whole conversation list, whose unread counts the oracle checks. An incomplete list after
    /// `patience` is a violation.
    pub(crate) async fn inboxes(&self, patience: Duration) {
        let mut members: Vec<ClientIx> = self
            .plan
            .conversations
            .iter()
            .flat_map(|planned| planned.members.iter().copied())
            .filter(|member| self.share.owns(*member))
            .collect();
        members.sort_unstable();
        members.dedup();
        let wanted = members.len();
        let inboxes = members.into_iter().map(|member| async move {
            let (reply, done) = oneshot::channel();
            self.handles[member as usize].send(HarnessCommand::Inbox(reply));
            done.await.ok()
        });
        if tokio::time::timeout(patience, all(inboxes))
            .await
            .ok()
            .flatten()
            .is_none()
        {
            let detail = format!("not all of {wanted} conversation lists were complete within {patience:?}");
            self.common
                .context
                .borrow_mut()
                .oracle
                .violate(ViolationKind::Wedged, None, None, 0, detail);
        }
    }

    /// Sends in every conversation until each has acknowledged a message. A missing acknowledgement after `patience` is
    /// a violation, because every shard must work after the faults have healed.
    pub(crate) async fn probe_all(&self, patience: Duration) {
        {
            // Recording starts before the first message, whose acknowledgement could otherwise be missed.
            let context = &mut *self.common.context.borrow_mut();
            let now = context.clock.now();
            context.acks.watch(now);
        }
        // The budget of the load may be used up, and would stop the senders.
        self.common.budget.set(u64::MAX);
        self.pace(&LoadPace::Closed { window: 1 });
        let spoken_in = || self.plan.conversations.iter().zip(&self.conversations);
        let silent = || {
            let context = self.common.context.borrow();
            let spoken_here = |planned: &PlannedConversation| {
                let mut speakers = planned.members.iter().take(planned.speakers);
                speakers.any(|speaker| self.share.owns(*speaker))
            };
            let mut silent = spoken_in()
                .filter(|(planned, (_, conv))| spoken_here(planned) && context.acks.first(*conv).is_none());
            silent.next().map(|(_, (_, conv))| *conv)
        };
        let began = Instant::now();
        while let Some(conv) = silent() {
            {
                let oracle = &mut self.common.context.borrow_mut().oracle;
                if oracle.counts().violations > 0 {
                    return;
                }
                if began.elapsed() > patience {
                    let detail = format!("no ack within {patience:?} after the faults were healed");
                    oracle.violate(ViolationKind::Wedged, Some(conv), None, 0, detail);
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every message is acknowledged and delivered to every member. Missing ones after `patience` are a
    /// violation.
    pub(crate) async fn quiesce(&self, patience: Duration) {
        let began = Instant::now();
        while !self.is_quiet(self.unanswered().await, began, patience) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the number of messages without a final response, over all clients of this process.
    pub(crate) async fn unanswered(&self) -> usize {
        let mut unanswered = 0;
        for handle in &self.handles {
            let (reply, answer) = oneshot::channel();
            handle.send(HarnessCommand::Unanswered(reply));
            // Limited, because a client may wait long for a connection. Its messages are missing from the sum.
            if let Ok(Ok(more)) = tokio::time::timeout(Duration::from_secs(10), answer).await {
                unanswered += more;
            }
        }
        unanswered
    }

    fn is_quiet(&self, unanswered: usize, began: Instant, patience: Duration) -> bool {
        let oracle = &mut self.common.context.borrow_mut().oracle;
        // A violation decides the run, so waiting for the rest would only delay the report.
        if unanswered == 0 && oracle.level() || oracle.counts().violations > 0 {
            return true;
        }
        if began.elapsed() <= patience {
            return false;
        }
        if unanswered > 0 {
            let detail =
                format!("{unanswered} messages have no response {patience:?} after the last scheduled send");
            oracle.violate(ViolationKind::Wedged, None, None, 0, detail);
        }
        true
    }

    /// Reads every log again from its beginning, and compares it with the events that the clients received.
    pub(crate) async fn reread(&self, patience: Duration) {
        let readings = self
            .plan
            .conversations
            .iter()
            .zip(&self.conversations)
            // In a distributed run each log is read once, by the process that has created it.
            .filter(|(planned, _)| self.creates(planned))
            .map(|(planned, (name, conv))| async {
                let (reply, done) = oneshot::channel();
                let after = self.common.context.borrow().oracle.reread_after(*conv);
                let reader = &self.handles[planned.members[0] as usize];
                reader.send(HarnessCommand::Reread {
                    name: name.clone(),
                    after,
                    reply,
                });
                done.await.is_ok()
            });
        let all = stream::iter(readings)
            .buffer_unordered(SET_UP_AT_ONCE)
            .collect::<Vec<_>>();
        let finished = tokio::time::timeout(patience, all)
            .await
            .is_ok_and(|all| all.into_iter().all(|done| done));
        if !finished {
            let detail = format!("the log could not be read back within {patience:?}");
            self.common
                .context
                .borrow_mut()
                .oracle
                .violate(ViolationKind::Wedged, None, None, 0, detail);
        }
    }
}
