//! Readiness of a subscriber: queries wait for its initial subscriptions.

use protocol::ConversationId;

use tokio::sync::oneshot;

use super::{EventSubscriber, Followed, State};
use crate::session::lifecycle::BarrierGuard;

// === impl EventSubscriber: barrier ===

impl EventSubscriber {
    /// Releases the queries that wait for this conversation's subscription.
    pub(in crate::session) fn stands(&self, conv: &ConversationId) {
        if let Some(Followed {
            state: State::Opening { waiting, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
        {
            waiting.clear();
        }
        if let Some(beginning) = &*self.beginning.borrow() {
            beginning.stands(conv);
        }
        if self.is_ready.get() {
            self.release_barrier();
        }
    }

    /// Waits for a pending subscription of a conversation that the client does not have: until it is live or has failed,
    /// and not for its retries, behind which comes a `resync`. It precedes those of other conversations.
    pub(in crate::session) async fn pending_subscription(&self, conv: &ConversationId) {
        let ended = match self
            .convs
            .borrow_mut()
            .get_mut(conv)
            .map(|known| &mut known.state)
        {
            Some(State::Opening {
                from: None, waiting, ..
            }) => {
                let (guard, ended) = oneshot::channel();
                waiting.push(guard);
                ended
            }
            _ => return,
        };
        if let Some(beginning) = &*self.beginning.borrow() {
            beginning.ask(conv);
        }
        // The end is the drop of the sender.
        let _ended = ended.await;
    }

    /// Returns a conversation that a waiting query needs; it is subscribed to before the others.
    pub(in crate::session) fn asked(&self) -> Option<ConversationId> {
        self.beginning.borrow().as_ref()?.asked()
    }

    /// Completes when a query waits for a conversation that is not subscribed to yet.
    pub(in crate::session) async fn asking(&self) {
        let asking = self.beginning.borrow().as_ref().map(BarrierGuard::asking);
        match asking {
            Some(asking) => asking.await,
            // No query waits any more.
            None => std::future::pending().await,
        }
    }

    /// Sets the conversations that the session is about to subscribe to. Queries about others no longer wait, except
    /// those that the client opens at this moment: their subscriptions are pending too.
    pub(in crate::session) fn plans(&self, convs: &[ConversationId]) {
        if let Some(beginning) = &*self.beginning.borrow() {
            let followed = self.convs.borrow();
            let opened = followed
                .iter()
                .filter(|(_, followed)| followed.state.is_unknown());
            beginning.follows(convs.iter().chain(opened.map(|(conv, _)| conv)).cloned());
        }
    }

    /// Stores the guard that delays queries until the initial subscriptions are complete.
    pub(in crate::session) fn begins(&self, beginning: BarrierGuard) {
        *self.beginning.borrow_mut() = Some(beginning);
    }

    /// Marks the initial subscriptions as complete, as far as possible, and releases the waiting queries.
    pub(in crate::session) fn set_ready(&self) {
        self.is_ready.set(true);
        self.release_barrier();
        self.link.request_check();
    }

    /// Releases all queries, unless a subscription that the client requested is still pending: a `sync` answered before
    /// it would leave out the events in between.
    pub(super) fn release_barrier(&self) {
        let over = self.beginning.borrow().as_ref().is_none_or(BarrierGuard::is_over);
        if over {
            self.beginning.take();
        }
    }
}
