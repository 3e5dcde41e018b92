//! Keeps a sender's order across a temporary refusal: what was sent behind a refused message must not overtake it.
//!
//! Pure. The lane to a shard does the same for what is under way when the refusal happens
//! (`conversation::route::hold`); this is for what the session refuses itself, and for what comes later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{Cid, ConvId};

/// The conversations in which a refused send has to come again first.
#[derive(Debug)]
pub struct Order {
    lasts: Duration,
    refused: HashMap<ConvId, (Cid, Instant)>,
}

// === impl Order ===

impl Order {
    /// Holds last this long at most.
    #[must_use]
    pub fn new(lasts: Duration) -> Order {
        Order {
            lasts,
            refused: HashMap::new(),
        }
    }

    /// Whether the send may go on. The refused one itself lifts the hold.
    ///
    /// # Errors
    /// How long the hold lasts if the refused one doesn't come.
    pub fn admit(&mut self, conv: &ConvId, cid: &Cid, now: Instant) -> Result<(), Duration> {
        match self.refused.get(conv) {
            Some((refused, until)) if refused != cid && *until > now => Err(*until - now),
            Some(_) => {
                self.refused.remove(conv);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A send was refused for the time being. An earlier one that is still missing stays the one to wait for.
    pub fn refuse(&mut self, conv: &ConvId, cid: &Cid, now: Instant) {
        if self.refused.len() >= 1024 {
            self.refused.retain(|_, (_, until)| *until > now);
        }
        let hold = self
            .refused
            .entry(conv.clone())
            .or_insert_with(|| (cid.clone(), now + self.lasts));
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
        let (conv, other) = (ConvId::parse("g_1").unwrap(), ConvId::parse("g_2").unwrap());
        let [one, two] = ["1", "2"].map(|cid| Cid::parse(cid).unwrap());
        let now = Instant::now();
        let mut order = Order::new(Duration::from_secs(5));
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
