//! Which conversations sessions that have begun here are about to follow: a question about one of them waits until its
//! subscription stands, over another connection as over the session's own. It waits for those that it names, and so not
//! for as long as a user with many conversations needs for all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{ConvId, UserId};
use tokio::sync::Notify;

/// The users with such sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: Mutex<Sessions>,
    fewer: Notify,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    users: HashMap<UserId, HashMap<u64, Coming>>,
}

/// What a session is about to follow.
#[derive(Debug, Default)]
struct Coming {
    /// `None`: it is not known yet.
    convs: Option<HashSet<ConvId>>,
    /// About these somebody has asked: they come first.
    asked: Vec<ConvId>,
}

/// One session that has begun; dropped, it follows everything, or is over.
#[derive(Debug)]
pub(super) struct Beginning {
    inner: Arc<Inner>,
    user: UserId,
    number: u64,
}

// === impl Settling ===

impl Settling {
    /// A session of the user begins.
    pub(super) fn begins(&self, user: &UserId) -> Beginning {
        let mut sessions = self.inner.sessions.lock();
        sessions.next += 1;
        let number = sessions.next;
        sessions
            .users
            .entry(user.clone())
            .or_default()
            .insert(number, Coming::default());
        Beginning {
            inner: self.inner.clone(),
            user: user.clone(),
            number,
        }
    }

    /// Waits until no session of the user is about to follow one of these conversations, which are followed before others
    /// from now on.
    pub(super) async fn stand(&self, user: &UserId, convs: &[ConvId]) {
        self.inner.sessions.lock().ask(user, convs);
        loop {
            // From here on no change is missed.
            let mut fewer = std::pin::pin!(self.inner.fewer.notified());
            fewer.as_mut().enable();
            if !self.inner.sessions.lock().comes(user, convs) {
                return;
            }
            fewer.await;
        }
    }
}

// === impl Sessions ===

impl Sessions {
    fn comes(&self, user: &UserId, convs: &[ConvId]) -> bool {
        let mut sessions = self.users.get(user).into_iter().flat_map(HashMap::values);
        sessions.any(|coming| convs.iter().any(|conv| coming.holds(conv)))
    }

    fn ask(&mut self, user: &UserId, convs: &[ConvId]) {
        let sessions = self.users.get_mut(user).into_iter().flat_map(HashMap::values_mut);
        for coming in sessions {
            let convs = convs
                .iter()
                .rev()
                .filter(|conv| coming.convs.as_ref().is_none_or(|known| known.contains(*conv)));
            coming.asked.extend(convs.cloned());
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
        self.change(|coming| coming.convs = Some(convs.into_iter().collect()));
    }

    /// The subscription of one of them stands, or there is none for now.
    pub(super) fn stands(&self, conv: &ConvId) {
        self.change(|coming| {
            if let Some(convs) = &mut coming.convs {
                convs.remove(conv);
            }
        });
    }

    /// Returns whether no query has to wait for this session any more.
    pub(super) fn is_over(&self) -> bool {
        let sessions = self.inner.sessions.lock();
        let user = sessions.users.get(&self.user);
        let coming = user.and_then(|user| user.get(&self.number));
        coming.is_none_or(|coming| coming.convs.as_ref().is_some_and(HashSet::is_empty))
    }

    /// A conversation about which somebody has asked.
    pub(super) fn asked(&self) -> Option<ConvId> {
        let mut sessions = self.inner.sessions.lock();
        let coming = sessions.users.get_mut(&self.user)?.get_mut(&self.number)?;
        coming.asked.pop()
    }

    fn change(&self, change: impl FnOnce(&mut Coming)) {
        let mut sessions = self.inner.sessions.lock();
        if let Some(coming) = sessions
            .users
            .get_mut(&self.user)
            .and_then(|user| user.get_mut(&self.number))
        {
            change(coming);
        }
        drop(sessions);
        self.inner.fewer.notify_waiters();
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let mut sessions = self.inner.sessions.lock();
        if let Some(user) = sessions.users.get_mut(&self.user) {
            user.remove(&self.number);
            if user.is_empty() {
                sessions.users.remove(&self.user);
            }
        }
        drop(sessions);
        self.inner.fewer.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
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
}
