//! Keeps a sender's order across a temporary refusal.
//!
//! A client that pipelines has sent its next message before it hears that the last one was refused. If that next one
//! were accepted, it would overtake the refused one. So the lane holds back a user's sends to a conversation from the
//! moment it refuses one: until the refused client id comes again, or for a short time after which the session, which
//! knows of the refusal by then, keeps the order itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{Cid, ConvId, UserId};

/// The senders that are held back in one lane.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: HashMap<(UserId, ConvId), Hold>,
}

#[derive(Debug)]
struct Hold {
    cid: Cid,
    until: Instant,
}

// === impl Holds ===

impl Holds {
    /// Holds back everything of the sender but `cid`. An earlier hold stays: its command comes first.
    pub(crate) fn refuse(&mut self, user: &UserId, conv: &ConvId, cid: &Cid, now: Instant, lasts: Duration) {
        if self.held.len() > 1024 {
            self.held.retain(|_, hold| hold.until > now);
        }
        let key = (user.clone(), conv.clone());
        let hold = Hold {
            cid: cid.clone(),
            until: now + lasts,
        };
        match self.held.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut known) if known.get().until <= now => {
                known.insert(hold);
            }
            std::collections::hash_map::Entry::Occupied(_) => {}
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(hold);
            }
        }
    }

    /// Whether the command may enter the lane; the one that was refused lifts the hold.
    pub(crate) fn admits(&mut self, user: &UserId, conv: &ConvId, cid: &Cid, now: Instant) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let key = (user.clone(), conv.clone());
        match self.held.get(&key) {
            Some(hold) if hold.until > now && hold.cid != *cid => false,
            Some(_) => {
                self.held.remove(&key);
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(1);

    fn cid(text: &str) -> Cid {
        Cid::parse(text).unwrap()
    }

    #[test]
    fn only_the_refused_command_passes_until_the_time_is_over() {
        let (user, conv) = (UserId::parse("alice").unwrap(), ConvId::parse("g_1").unwrap());
        let now = Instant::now();
        let mut holds = Holds::default();
        holds.refuse(&user, &conv, &cid("1"), now, LASTS);
        holds.refuse(&user, &conv, &cid("2"), now, LASTS);
        assert!(
            !holds.admits(&user, &conv, &cid("2"), now),
            "2 was refused after 1"
        );
        assert!(holds.admits(&UserId::parse("bob").unwrap(), &conv, &cid("3"), now));
        assert!(holds.admits(&user, &conv, &cid("1"), now));
        assert!(holds.admits(&user, &conv, &cid("2"), now));

        holds.refuse(&user, &conv, &cid("4"), now, LASTS);
        assert!(holds.admits(&user, &conv, &cid("5"), now + LASTS));
    }
}
