//! Conversations without a subscription: which ones are evicted, joined or active.

use protocol::ConversationId;
use protocol::response::LastEvent;

use super::{EventSubscriber, SLACK_MS, State};

// === impl EventSubscriber: activity ===

impl EventSubscriber {
    /// Removes and returns the least recently active conversation if more than `most` are followed. A conversation
    /// whose announced message has not arrived yet is not removed.
    pub(in crate::session) fn make_room(&self, most: usize) -> Option<ConversationId> {
        let mut convs = self.convs.borrow_mut();
        if convs.len() <= most {
            return None;
        }
        let (conv, at) = convs
            .iter()
            .filter_map(|(conv, followed)| match followed.state {
                State::Live(at) if followed.announced <= at => Some((followed.rank, conv, at)),
                _ => None,
            })
            .min_by_key(|(rank, ..)| *rank)
            .map(|(_, conv, at)| (conv.clone(), at))?;
        convs.remove(&conv);
        // Kept: only an announcement above this seq is news to the client.
        self.reached.borrow_mut().insert(conv.clone(), at);
        Some(conv)
    }

    /// Drains up to `most` conversations without a subscription in which messages were sent.
    pub(in crate::session) fn take_active(&self, most: usize) -> Vec<(ConversationId, LastEvent)> {
        // The initial list is still being subscribed to and may contain the announced conversations.
        if !self.is_ready.get() {
            return Vec::new();
        }
        let mut active = self.active.borrow_mut();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((conv, last)) = active.pop_first()
        {
            if self.is_unknown(&conv, last.seq) {
                taken.push((conv, last));
            }
        }
        taken
    }

    /// Drains the position behind which the user's conversation list is to be read for missed activity.
    pub(in crate::session) fn take_unread(&self) -> Option<(u64, ConversationId)> {
        self.unread.take()
    }

    pub(super) fn is_unknown(&self, conv: &ConversationId, s: u64) -> bool {
        !self.follows(conv) && self.reached.borrow().get(conv).is_none_or(|at| *at < s)
    }

    /// Returns true if activity at `ms` (Unix milliseconds) may be missing from every response to the client.
    pub(super) fn is_late(&self, ms: u64) -> bool {
        ms.saturating_add(SLACK_MS) >= self.began_ms.get()
    }

    /// Sets the start of the session in Unix milliseconds. The client's first `sync` covers earlier activity.
    pub(in crate::session) fn begins_at(&self, now_ms: u64) {
        self.began_ms.set(now_ms);
    }

    /// Moves the start back by `ms`, for activity that the resumed session may have missed.
    pub(in crate::session) fn began_before(&self, ms: u64) {
        self.began_ms.set(self.began_ms.get().saturating_sub(ms));
    }

    /// Drains the conversations that the user joined since the last call and that are to be introduced.
    ///
    /// Returns none before the initial subscriptions are complete, because a re-registration of the node may name these
    /// too. Introduced, their events would begin behind a `conv` that a client with the conversation skips. No `sync`
    /// would have waited for them.
    pub(in crate::session) fn take_joined(&self) -> Vec<ConversationId> {
        if !self.is_ready.get() {
            return Vec::new();
        }
        let convs = self.convs.borrow();
        let mut joined = self.joined.borrow_mut();
        let fresh = joined.iter().filter(|conv| !convs.contains_key(*conv)).cloned();
        let fresh = fresh.collect();
        // A starting subscription may date from before the joining: its entry stays until the outcome is decided.
        joined.retain(|conv| {
            let state = convs.get(conv).map(|followed| &followed.state);
            matches!(state, Some(State::Opening { .. }))
        });
        fresh
    }
}
