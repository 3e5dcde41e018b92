//! Sender holds: keep a sender's order across a temporary refusal.
//!
//! A pipelining client sends its next message before it receives the refusal of the last. If the next one were
//! accepted, it would overtake the refused one. The command queue therefore holds back a user's sends to a conversation
//! after a refusal. The hold ends with the repetition of the refused client message id, or after a short time. By then
//! the session has the refusal and keeps the order itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{ClientMessageId, ConversationId, UserId};

/// Senders held back in one command queue.
#[derive(Debug, Default)]
pub(crate) struct SenderHolds {
    held: HashMap<(UserId, ConversationId), SenderHold>,
}

#[derive(Debug)]
struct SenderHold {
    cid: ClientMessageId,
    until: Instant,
}

// === impl SenderHolds ===

impl SenderHolds {
    /// Holds back all commands of the sender except `cid`. An earlier hold stays, because its command comes first.
    pub(crate) fn refuse(
        &mut self,
        user: &UserId,
        conv: &ConversationId,
        cid: &ClientMessageId,
        now: Instant,
        lasts: Duration,
    ) {
        // Expired holds of senders that never returned are removed here, which bounds the map.
        if self.held.len() > 1024 {
            self.held.retain(|_, hold| hold.until > now);
        }
        let key = (user.clone(), conv.clone());
        let hold = SenderHold {
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

    /// Returns true if the command may enter the queue. The refused command itself ends the hold.
    pub(crate) fn admits(
        &mut self,
        user: &UserId,
        conv: &ConversationId,
        cid: &ClientMessageId,
        now: Instant,
    ) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let key = (user.clone(), conv.clone());
        match self.held.get(&key) {
            Some(hold) if hold.until > now && hold.cid != *cid => false,
            // Either the refused command, or an expired hold.
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

    fn cid(text: &str) -> ClientMessageId {
        ClientMessageId::parse(text).unwrap()
    }

    #[test]
    fn only_the_refused_command_passes_until_the_time_is_over() {
        let (user, conv) = (
            UserId::parse("alice").unwrap(),
            ConversationId::parse("g_1").unwrap(),
        );
        let now = Instant::now();
        let mut holds = SenderHolds::default();
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
