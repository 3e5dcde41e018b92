//! Whose sessions have begun and do not follow everything yet, on this node: a question over another connection waits for
//! them as one over the session's own would.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::UserId;
use tokio::sync::Notify;

/// The users with such sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    users: Mutex<HashMap<UserId, usize>>,
    fewer: Notify,
}

/// One session that has begun; dropped, it follows everything, or is over.
#[derive(Debug)]
pub(super) struct Beginning {
    inner: Arc<Inner>,
    user: UserId,
}

// === impl Settling ===

impl Settling {
    /// A session of the user begins.
    pub(super) fn begins(&self, user: &UserId) -> Beginning {
        *self.inner.users.lock().entry(user.clone()).or_default() += 1;
        Beginning {
            inner: self.inner.clone(),
            user: user.clone(),
        }
    }

    /// Waits until no session of the user is about to begin.
    pub(super) async fn over(&self, user: &UserId) {
        loop {
            // From here on no change is missed.
            let mut fewer = std::pin::pin!(self.inner.fewer.notified());
            fewer.as_mut().enable();
            if !self.inner.users.lock().contains_key(user) {
                return;
            }
            fewer.await;
        }
    }
}

// === impl Beginning ===

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.inner.users.lock().entry(self.user.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.inner.fewer.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_question_waits_for_all_sessions_of_its_user_and_for_nobody_elses() {
        let settling = Settling::default();
        let (bob, eve): (UserId, UserId) = ("bob".parse().unwrap(), "eve".parse().unwrap());
        let (first, second) = (settling.begins(&bob), settling.begins(&bob));
        let _other = settling.begins(&eve);
        let mut waiting = Box::pin(settling.over(&bob));
        assert!((&mut waiting).now_or_never().is_none());
        drop(first);
        assert!((&mut waiting).now_or_never().is_none());
        drop(second);
        waiting.await;
        assert!(settling.over(&bob).now_or_never().is_some());
        assert!(settling.over(&eve).now_or_never().is_none());
    }
}
