//! Send order guard: preserves a sender's order across a temporary refusal. A message sent behind a refused one must
//! not overtake it.
//!
//! Pure. The command queue of a shard does the same for messages that are in flight at the refusal
//! (`conversation::shard_client::sender_hold`). This guard covers refusals by the session itself, and messages that are
//! sent later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{ClientMessageId, ConversationId};

/// Conversations in which a refused send has to be repeated first.
#[derive(Debug)]
pub(in crate::session) struct SendOrderGuard {
    lasts: Duration,
    refused: HashMap<ConversationId, (ClientMessageId, Instant)>,
}

// === impl SendOrderGuard ===

impl SendOrderGuard {
    /// Creates a guard whose holds last for `lasts` at most.
    #[must_use]
    pub(in crate::session) fn new(lasts: Duration) -> SendOrderGuard {
        SendOrderGuard {
            lasts,
            refused: HashMap::new(),
        }
    }

    /// Admits a send unless another one is held for. The refused send itself ends the hold.
    ///
    /// # Errors
    /// Remaining time of the hold.
    pub(in crate::session) fn admit(
        &mut self,
        conv: &ConversationId,
        cid: &ClientMessageId,
        now: Instant,
    ) -> Result<(), Duration> {
        match self.refused.get(conv) {
            Some((refused, until)) if refused != cid && *until > now => Err(*until - now),
            Some(_) => {
                self.refused.remove(conv);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Starts a hold after a temporary refusal. A hold of an earlier send stays as it is.
    pub(in crate::session) fn refuse(&mut self, conv: &ConversationId, cid: &ClientMessageId, now: Instant) {
        // Expired holds are removed only when there are many: usually there are none.
        if self.refused.len() >= 1024 {
            self.refused.retain(|_, (_, until)| *until > now);
        }
        let hold = self
            .refused
            .entry(conv.clone())
            .or_insert_with(|| (cid.clone(), now + self.lasts));
        // The client did not repeat the earlier send in time: it no longer holds others.
        if hold.1 <= now {
            *hold = (cid.clone(), now + self.lasts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sends_wait_for_the_refused_one_or_for_the_time_to_pass() {
        let (conv, other) = (
            ConversationId::parse("g_1").unwrap(),
            ConversationId::parse("g_2").unwrap(),
        );
        let [one, two] = ["1", "2"].map(|cid| ClientMessageId::parse(cid).unwrap());
        let now = Instant::now();
        let mut order = SendOrderGuard::new(Duration::from_secs(5));
        order.refuse(&conv, &one, now);
        order.refuse(&conv, &two, now);
        assert_eq!(order.admit(&conv, &two, now), Err(Duration::from_secs(5)));
        assert_eq!(order.admit(&other, &two, now), Ok(()));
        assert_eq!(order.admit(&conv, &one, now), Ok(()));
        assert_eq!(order.admit(&conv, &two, now), Ok(()));

        order.refuse(&conv, &one, now);
        assert_eq!(order.admit(&conv, &two, now + Duration::from_secs(5)), Ok(()));
    }
}
