//! Subscription barrier: delays a user's queries until the user's new sessions are subscribed.
//!
//! A query about a conversation waits while new sessions on this node are about to subscribe to it. The query may come
//! over any connection. It waits for the conversations that it names only. So its delay does not depend on the number
//! of the user's conversations.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{ConversationId, UserId};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Barriers of all users with starting sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct SubscriptionBarrier {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: Mutex<BarrierSessions>,
}

#[derive(Debug, Default)]
struct BarrierSessions {
    next: u64,
    users: HashMap<UserId, StartingSessions>,
}

/// The sessions of one user.
#[derive(Debug, Default)]
struct StartingSessions {
    sessions: HashMap<u64, PendingSubscriptions>,
    /// Wakes the waiting queries of this user only: progress of another user's session needs no check.
    fewer: Arc<Notify>,
}

/// Subscriptions that a session is about to make.
#[derive(Debug, Default)]
struct PendingSubscriptions {
    /// `None`: the list is not read yet, so every query waits.
    convs: Option<HashSet<ConversationId>>,
    /// Conversations that waiting queries need, the next one last.
    asked: Vec<ConversationId>,
    /// Wakes the session when a query asks.
    asking: Arc<Notify>,
}

/// Guard of a starting session; its drop releases the queries that wait for the session.
#[derive(Debug)]
pub(in crate::session) struct BarrierGuard {
    inner: Arc<Inner>,
    user: UserId,
    number: u64,
    asking: Arc<Notify>,
}

// === impl SubscriptionBarrier ===

impl SubscriptionBarrier {
    /// Registers a starting session of the user.
    pub(in crate::session) fn begins(&self, user: &UserId) -> BarrierGuard {
        let mut sessions = self.inner.sessions.lock();
        sessions.next += 1;
        let number = sessions.next;
        let coming = PendingSubscriptions::default();
        let asking = coming.asking.clone();
        let starting = sessions.users.entry(user.clone()).or_default();
        starting.sessions.insert(number, coming);
        BarrierGuard {
            inner: self.inner.clone(),
            user: user.clone(),
            number,
            asking,
        }
    }

    /// Waits until no session of the user is about to subscribe to one of these conversations. From now on these are
    /// subscribed to before others.
    pub(in crate::session) async fn stand(&self, user: &UserId, convs: &[ConversationId]) {
        self.inner.sessions.lock().ask(user, convs);
        while let Some(fewer) = self.fewer_than(user, convs) {
            fewer.await;
        }
    }

    /// Returns the notification of the next change, or `None` if no session is about to subscribe to one of these.
    fn fewer_than(&self, user: &UserId, convs: &[ConversationId]) -> Option<Pin<Box<OwnedNotified>>> {
        let sessions = self.inner.sessions.lock();
        let starting = sessions.users.get(user)?;
        let mut coming = starting.sessions.values();
        coming
            .any(|coming| convs.iter().any(|conv| coming.holds(conv)))
            .then(|| {
                let mut fewer = Box::pin(starting.fewer.clone().notified_owned());
                // While nothing changes, so no change is missed.
                fewer.as_mut().enable();
                fewer
            })
    }
}

// === impl BarrierSessions ===

impl BarrierSessions {
    fn ask(&mut self, user: &UserId, convs: &[ConversationId]) {
        let starting = self.users.get_mut(user).into_iter();
        for coming in starting.flat_map(|starting| starting.sessions.values_mut()) {
            let convs = convs
                .iter()
                .rev()
                .filter(|conv| coming.convs.as_ref().is_none_or(|known| known.contains(*conv)));
            coming.asked.extend(convs.cloned());
            coming.asking.notify_one();
        }
    }
}

// === impl PendingSubscriptions ===

impl PendingSubscriptions {
    fn holds(&self, conv: &ConversationId) -> bool {
        self.convs.as_ref().is_none_or(|convs| convs.contains(conv))
    }
}

// === impl BarrierGuard ===

impl BarrierGuard {
    /// Sets the conversations that the session is about to subscribe to.
    pub(in crate::session) fn follows(&self, convs: impl IntoIterator<Item = ConversationId>) {
        self.change(|coming| {
            coming.convs = Some(convs.into_iter().collect());
            true
        });
    }

    /// Removes a conversation that is subscribed to, or cannot be for now.
    pub(in crate::session) fn stands(&self, conv: &ConversationId) {
        self.change(|coming| coming.convs.as_mut().is_some_and(|convs| convs.remove(conv)));
    }

    /// Returns true if no query waits for this session any more.
    pub(in crate::session) fn is_over(&self) -> bool {
        let sessions = self.inner.sessions.lock();
        let user = sessions.users.get(&self.user);
        let coming = user.and_then(|user| user.sessions.get(&self.number));
        coming.is_none_or(|coming| coming.convs.as_ref().is_some_and(HashSet::is_empty))
    }

    /// Has the sessions of the user subscribe to a conversation before others.
    pub(in crate::session) fn ask(&self, conv: &ConversationId) {
        let mut sessions = self.inner.sessions.lock();
        sessions.ask(&self.user, std::slice::from_ref(conv));
    }

    /// Pops a conversation that a waiting query needs.
    pub(in crate::session) fn asked(&self) -> Option<ConversationId> {
        let mut sessions = self.inner.sessions.lock();
        let starting = sessions.users.get_mut(&self.user)?;
        starting.sessions.get_mut(&self.number)?.asked.pop()
    }

    /// Completes when a query asks; also for one that asked since the last call.
    pub(in crate::session) fn asking(&self) -> impl Future<Output = ()> + use<> {
        self.asking.clone().notified_owned()
    }

    /// Applies `change`, which returns true if waiting queries have to check again.
    fn change(&self, change: impl FnOnce(&mut PendingSubscriptions) -> bool) {
        let mut sessions = self.inner.sessions.lock();
        if let Some(starting) = sessions.users.get_mut(&self.user)
            && let Some(coming) = starting.sessions.get_mut(&self.number)
            && change(coming)
        {
            starting.fewer.notify_waiters();
        }
    }
}

impl Drop for BarrierGuard {
    fn drop(&mut self) {
        let mut sessions = self.inner.sessions.lock();
        if let Some(starting) = sessions.users.get_mut(&self.user) {
            starting.sessions.remove(&self.number);
            starting.fewer.notify_waiters();
            if starting.sessions.is_empty() {
                sessions.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use futures::FutureExt;

    use super::*;

    fn conv(id: &str) -> ConversationId {
        ConversationId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn query_waits_only_for_the_conversations_it_names() {
        let barrier = SubscriptionBarrier::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        let asked = [conv("g_1"), conv("g_9")];
        let (first, second) = (barrier.begins(&bob), barrier.begins(&bob));
        let _other = barrier.begins(&eve);
        let mut waiting = Box::pin(barrier.stand(&bob, &asked));
        first.follows([conv("g_1"), conv("g_2"), conv("g_3")]);
        assert!(
            (&mut waiting).now_or_never().is_none(),
            "what the second one is about to follow is not known"
        );
        second.follows([conv("g_2")]);
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!((first.asked(), first.asked()), (Some(conv("g_1")), None));
        first.stands(&conv("g_1"));
        waiting.await;
        assert!(barrier.stand(&bob, &[conv("g_2")]).now_or_never().is_none());
        drop(second);
        assert!(barrier.stand(&bob, &[conv("g_2")]).now_or_never().is_none());
        drop(first);
        assert!(barrier.stand(&bob, &[conv("g_2")]).now_or_never().is_some());
        assert!(barrier.stand(&eve, &asked).now_or_never().is_none());
    }

    /// Counts how often who waits is asked to look again.
    #[derive(Default)]
    struct Looks(AtomicUsize);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn waiting_query_rechecks_only_after_progress_of_own_sessions() {
        let barrier = SubscriptionBarrier::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        let (his, hers) = (barrier.begins(&bob), barrier.begins(&eve));
        his.follows([conv("g_1")]);
        hers.follows((0..100).map(|n| conv(&format!("g_{n}"))));
        let asked = [conv("g_1")];
        let mut waiting = Box::pin(barrier.stand(&bob, &asked));
        let looks = Arc::new(Looks::default());
        let waker = Waker::from(looks.clone());
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        for n in 0..100 {
            hers.stands(&conv(&format!("g_{n}")));
        }
        drop(hers);
        his.stands(&conv("g_2"));
        assert_eq!(looks.0.load(Ordering::Relaxed), 0);
        his.stands(&conv("g_1"));
        assert_eq!(looks.0.load(Ordering::Relaxed), 1);
        waiting.await;
    }

    #[tokio::test]
    async fn session_learns_of_a_query_that_waited_before_it() {
        let barrier = SubscriptionBarrier::default();
        let bob: UserId = "bob".parse().unwrap();
        let his = barrier.begins(&bob);
        assert!(his.asking().now_or_never().is_none());
        assert!(barrier.stand(&bob, &[conv("g_1")]).now_or_never().is_none());
        his.asking().await;
        assert_eq!(his.asked(), Some(conv("g_1")));
    }
}
