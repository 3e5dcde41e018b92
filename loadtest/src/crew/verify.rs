//! What follows the load: everything is answered, delivered, read again and counted again, and what isn't in time is a
//! violation.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;

use super::{Crew, SET_UP_AT_ONCE, all};
use crate::client::Command;
use crate::oracle::Kind;
use crate::pacing::Pace;
use crate::payload::ClientIx;
use crate::scenario::Conversation;

// === impl Crew: verify ===

impl Crew {
    /// Waits until nothing is unanswered any more. `false` if that took too long.
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

    /// Every member reads the whole inbox, and the oracle counts the unread again. One that doesn't become complete is a
    /// violation.
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
            self.handles[member as usize].tell(Command::Inbox(reply));
            done.await.ok()
        });
        if tokio::time::timeout(patience, all(inboxes))
            .await
            .ok()
            .flatten()
            .is_none()
        {
            let detail = format!("not all of {wanted} inboxes were complete within {patience:?}");
            self.common
                .world
                .borrow_mut()
                .oracle
                .violate(Kind::Wedged, None, None, 0, detail);
        }
    }

    /// Has everybody speak until every conversation has acked a message from now. One that doesn't in time is a
    /// violation: after the faults have healed, all must be alive again.
    pub(crate) async fn everywhere(&self, patience: Duration) {
        {
            let world = &mut *self.common.world.borrow_mut();
            let now = world.clock.now();
            world.acks.watch(now);
        }
        self.common.budget.set(u64::MAX);
        self.pace(&Pace::Closed { window: 1 });
        let spoken_in = || self.plan.conversations.iter().zip(&self.conversations);
        let silent = || {
            let world = self.common.world.borrow();
            let spoken_here = |planned: &Conversation| {
                let mut speakers = planned.members.iter().take(planned.speakers);
                speakers.any(|speaker| self.share.owns(*speaker))
            };
            let mut silent = spoken_in()
                .filter(|(planned, (_, conv))| spoken_here(planned) && world.acks.first(*conv).is_none());
            silent.next().map(|(_, (_, conv))| *conv)
        };
        let began = Instant::now();
        while let Some(conv) = silent() {
            {
                let oracle = &mut self.common.world.borrow_mut().oracle;
                if oracle.counts().violations > 0 {
                    return;
                }
                if began.elapsed() > patience {
                    let detail = format!("no ack within {patience:?} after the faults were healed");
                    oracle.violate(Kind::Wedged, Some(conv), None, 0, detail);
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every message is answered and every member has everything. What isn't so in time is a
    /// violation: after the faults have healed, nothing may stay stuck.
    pub(crate) async fn settle(&self, patience: Duration) {
        let began = Instant::now();
        while !self.settled(self.unanswered().await, began, patience) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Messages without a final answer.
    pub(crate) async fn unanswered(&self) -> usize {
        let mut unanswered = 0;
        for handle in &self.handles {
            let (reply, answer) = oneshot::channel();
            handle.tell(Command::Unanswered(reply));
            if let Ok(Ok(more)) = tokio::time::timeout(Duration::from_secs(10), answer).await {
                unanswered += more;
            }
        }
        unanswered
    }

    fn settled(&self, unanswered: usize, began: Instant, patience: Duration) -> bool {
        let oracle = &mut self.common.world.borrow_mut().oracle;
        if unanswered == 0 && oracle.level() || oracle.counts().violations > 0 {
            return true;
        }
        if began.elapsed() <= patience {
            return false;
        }
        if unanswered > 0 {
            let detail =
                format!("{unanswered} messages have no answer {patience:?} after the last one was due");
            oracle.violate(Kind::Wedged, None, None, 0, detail);
        }
        true
    }

    /// Reads every conversation again from its beginning and compares it with what the clients saw.
    pub(crate) async fn reread(&self, patience: Duration) {
        let readings = self
            .plan
            .conversations
            .iter()
            .zip(&self.conversations)
            .filter(|(planned, _)| self.creates(planned))
            .map(|(planned, (name, conv))| async {
                let (reply, done) = oneshot::channel();
                let after = self.common.world.borrow().oracle.reread_after(*conv);
                let reader = &self.handles[planned.members[0] as usize];
                reader.tell(Command::Reread {
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
                .world
                .borrow_mut()
                .oracle
                .violate(Kind::Wedged, None, None, 0, detail);
        }
    }
}
