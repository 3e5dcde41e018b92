//! Which conversations sessions that have begun here are about to follow: a question about one of them waits until its
//! subscription stands, over another connection as over the session's own. It waits for those that it names, and so not
//! for as long as a user with many conversations needs for all.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{ConvId, UserId};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The users with such sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    users: HashMap<UserId, Starting>,
}

/// The sessions of one user.
#[derive(Debug, Default)]
struct Starting {
    sessions: HashMap<u64, Coming>,
    /// For those who wait: each user's own, so that nobody looks again because another one's session came further.
    fewer: Arc<Notify>,
}

/// What a session is about to follow.
#[derive(Debug, Default)]
struct Coming {
    /// `None`: it is not known yet.
    convs: Option<HashSet<ConvId>>,
    /// About these somebody has asked: they come first.
    asked: Vec<ConvId>,
    /// Tells the session so.
    asking: Arc<Notify>,
}

/// One session that has begun; dropped, it follows everything, or is over.
#[derive(Debug)]
pub(super) struct Beginning {
    inner: Arc<Inner>,
    user: UserId,
    number: u64,
    asking: Arc<Notify>,
}

// === impl Settling ===

impl Settling {
    /// A session of the user begins.
    pub(super) fn begins(&self, user: &UserId) -> Beginning {
        let mut sessions = self.inner.sessions.lock();
        sessions.next += 1;
        let number = sessions.next;
        let coming = Coming::default();
        let asking = coming.asking.clone();
        let starting = sessions.users.entry(user.clone()).or_default();
        starting.sessions.insert(number, coming);
        Beginning {
            inner: self.inner.clone(),
            user: user.clone(),
            number,
            asking,
        }
    }

    /// Waits until no session of the user is about to follow one of these conversations, which are followed before others
    /// from now on.
    pub(super) async fn stand(&self, user: &UserId, convs: &[ConvId]) {
        self.inner.sessions.lock().ask(user, convs);
        while let Some(fewer) = self.fewer_than(user, convs) {
            fewer.await;
        }
    }

    /// What ends the wait for the next change, if one of these conversations is about to be followed.
    fn fewer_than(&self, user: &UserId, convs: &[ConvId]) -> Option<Pin<Box<OwnedNotified>>> {
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

// === impl Sessions ===

impl Sessions {
    fn ask(&mut self, user: &UserId, convs: &[ConvId]) {
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

// === impl Coming ===

impl Coming {
    fn holds(&self, conv: &ConvId) -> bool {
        self.convs.as_ref().is_none_or(|convs| convs.contains(conv))
    }
}

// === impl Beginning ===

impl Beginning {
    /// The session is about to follow these, and no others.
    pub(super) fn follows(&self, convs: impl IntoIterator<Item = ConvId>) {
        self.change(|coming| {
            coming.convs = Some(convs.into_iter().collect());
            true
        });
    }

    /// The subscription of one of them stands, or there is none for now.
    pub(super) fn stands(&self, conv: &ConvId) {
        self.change(|coming| coming.convs.as_mut().is_some_and(|convs| convs.remove(conv)));
    }

    /// Returns whether no query has to wait for this session any more.
    pub(super) fn is_over(&self) -> bool {
        let sessions = self.inner.sessions.lock();
        let user = sessions.users.get(&self.user);
        let coming = user.and_then(|user| user.sessions.get(&self.number));
        coming.is_none_or(|coming| coming.convs.as_ref().is_some_and(HashSet::is_empty))
    }

    /// A conversation about which somebody has asked.
    pub(super) fn asked(&self) -> Option<ConvId> {
        let mut sessions = self.inner.sessions.lock();
        let starting = sessions.users.get_mut(&self.user)?;
        starting.sessions.get_mut(&self.number)?.asked.pop()
    }

    /// Waits until somebody asks, also if that was since the last time.
    pub(super) fn asking(&self) -> impl Future<Output = ()> + use<> {
        self.asking.clone().notified_owned()
    }

    /// `change` says whether there is something new for those who wait.
    fn change(&self, change: impl FnOnce(&mut Coming) -> bool) {
        let mut sessions = self.inner.sessions.lock();
        if let Some(starting) = sessions.users.get_mut(&self.user)
            && let Some(coming) = starting.sessions.get_mut(&self.number)
            && change(coming)
        {
            starting.fewer.notify_waiters();
        }
    }
}

impl Drop for Beginning {
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

    fn conv(id: &str) -> ConvId {
        ConvId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn a_question_waits_for_the_conversations_it_names_and_for_no_others() {
        let settling = Settling::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        let asked = [conv("g_1"), conv("g_9")];
        let (first, second) = (settling.begins(&bob), settling.begins(&bob));
        let _other = settling.begins(&eve);
        let mut waiting = Box::pin(settling.stand(&bob, &asked));
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
        assert!(settling.stand(&bob, &[conv("g_2")]).now_or_never().is_none());
        drop(second);
        assert!(settling.stand(&bob, &[conv("g_2")]).now_or_never().is_none());
        drop(first);
        assert!(settling.stand(&bob, &[conv("g_2")]).now_or_never().is_some());
        assert!(settling.stand(&eve, &asked).now_or_never().is_none());
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
    async fn who_waits_looks_again_only_when_one_of_the_users_own_sessions_came_further() {
        let settling = Settling::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        let (his, hers) = (settling.begins(&bob), settling.begins(&eve));
        his.follows([conv("g_1")]);
        hers.follows((0..100).map(|n| conv(&format!("g_{n}"))));
        let asked = [conv("g_1")];
        let mut waiting = Box::pin(settling.stand(&bob, &asked));
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
    async fn a_session_learns_of_a_question_that_came_before_it_waited_for_one() {
        let settling = Settling::default();
        let bob: UserId = "bob".parse().unwrap();
        let his = settling.begins(&bob);
        assert!(his.asking().now_or_never().is_none());
        assert!(settling.stand(&bob, &[conv("g_1")]).now_or_never().is_none());
        his.asking().await;
        assert_eq!(his.asked(), Some(conv("g_1")));
    }
}
