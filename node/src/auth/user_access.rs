//! Access of users: whether a user is deactivated, and from which time on tokens of the user are accepted.
//!
//! ```text
//! deactivate, revoke ─▶ log of the user's shard ─▶ broadcast ─▶ every node forgets its answer and closes the sessions
//! token ─▶ cache of this node ─ miss ─▶ query at the owner
//! ```
//! A node that the broadcast does not reach accepts the tokens for at most [`CACHE_TTL`](super::verification_cache::CACHE_TTL).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::UserId;
use tokio::sync::Semaphore;

use super::token_verifier::{TokenError, TokenIdentity};
use super::verification_cache::VerificationCache;
use crate::shard_client::ShardClient;
use crate::state_machine::UserAccess;
use crate::state_machine::query::UserAccessQuery;

/// Maximum number of queries in progress. Further ones wait; connections bound their number.
const ASKING: usize = 1_024;
/// Time for which a change is remembered, longer than any verification takes.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Maximum number of remembered changes. Beyond it, verifications in progress begin anew.
const CHANGES: usize = 16_384;

/// Access of users as a node knows it. Cheap to clone.
#[derive(Clone)]
pub struct UserAccessCache {
    inner: Arc<Inner>,
}

struct Inner {
    conversations: ShardClient,
    state: Mutex<State>,
    asking: Semaphore,
}

#[derive(Default)]
struct State {
    answers: VerificationCache<UserId, UserAccess>,
    changes: RecentChanges,
}

/// Changes of access that this node received lately, each with a number.
#[derive(Default)]
struct RecentChanges {
    version: u64,
    /// Number of the last change of which the user is not remembered any more.
    forgotten: u64,
    users: HashMap<UserId, u64>,
    order: VecDeque<(Instant, UserId, u64)>,
}

// === impl UserAccessCache ===

impl UserAccessCache {
    #[must_use]
    pub fn new(conversations: ShardClient) -> UserAccessCache {
        let inner = Inner {
            conversations,
            state: Mutex::default(),
            asking: Semaphore::new(ASKING),
        };
        UserAccessCache {
            inner: Arc::new(inner),
        }
    }

    /// Returns the identity if the user may use the token.
    ///
    /// # Errors
    /// [`TokenError::Deactivated`], or [`TokenError::Invalid`] for a token that was issued too early.
    pub(super) async fn admit(&self, identity: TokenIdentity) -> Result<TokenIdentity, TokenError> {
        // Read before the query: a change from here on is later than the answer may be.
        let access_version = self.inner.state.lock().changes.version;
        let access = self.of(&identity.user).await?;
        if access.deactivated {
            return Err(TokenError::Deactivated);
        }
        // A token without a time of issue may be as old as any other.
        let issued_s = identity.issued_s.unwrap_or(0);
        if issued_s < access.before_s {
            return Err(TokenError::Invalid);
        }
        Ok(TokenIdentity {
            access_version,
            ..identity
        })
    }

    /// Checks that the user is not deactivated, for a back end that acts as the user.
    ///
    /// # Errors
    /// [`TokenError::Deactivated`], or [`TokenError::Unverified`] if the owner of the user's shard cannot be reached.
    pub async fn may_act(&self, user: &UserId) -> Result<(), TokenError> {
        match self.of(user).await?.deactivated {
            true => Err(TokenError::Deactivated),
            false => Ok(()),
        }
    }

    /// Returns true unless the access of the user changed after a verification with this number.
    #[must_use]
    pub fn is_current(&self, user: &UserId, access_version: u64) -> bool {
        self.inner.state.lock().changes.is_current(user, access_version)
    }

    /// Drops the answer about a user, whose access has changed.
    pub fn forget(&self, user: &UserId, now: Instant) {
        let mut state = self.inner.state.lock();
        state.answers.remove(user);
        state.changes.add(user, now);
    }

    async fn of(&self, user: &UserId) -> Result<UserAccess, TokenError> {
        loop {
            let asked = Instant::now();
            let version = {
                let mut state = self.inner.state.lock();
                if let Some(access) = state.answers.get(user, asked) {
                    return Ok(access);
                }
                state.changes.version
            };
            // The semaphore is never closed.
            let _permit = self.inner.asking.acquire().await;
            let question = UserAccessQuery { user: user.clone() };
            let answer = self.inner.conversations.query(&question).await;
            let access = answer.map_err(|_| TokenError::Unverified)?;
            let mut state = self.inner.state.lock();
            // A change that arrived meanwhile may be later than the answer.
            if state.changes.is_current(user, version) {
                state.answers.put(user.clone(), access, asked);
                return Ok(access);
            }
        }
    }
}

// === impl RecentChanges ===

impl RecentChanges {
    fn add(&mut self, user: &UserId, now: Instant) {
        while let Some((at, _, _)) = self.order.front()
            && (self.order.len() >= CHANGES || now.saturating_duration_since(*at) >= REMEMBERED)
        {
            if let Some((_, user, version)) = self.order.pop_front() {
                self.forgotten = self.forgotten.max(version);
                // A later change of the same user has an entry of its own further behind.
                if self.users.get(&user) == Some(&version) {
                    self.users.remove(&user);
                }
            }
        }
        self.version += 1;
        self.users.insert(user.clone(), self.version);
        self.order.push_back((now, user.clone(), self.version));
    }

    fn is_current(&self, user: &UserId, version: u64) -> bool {
        version >= self.forgotten && self.users.get(user).is_none_or(|changed| *changed <= version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("u{n}")).unwrap()
    }

    #[test]
    fn change_of_access_outdates_earlier_verifications_of_the_user() {
        let (mut changes, now) = (RecentChanges::default(), Instant::now());
        assert!(changes.is_current(&user(1), 0));
        changes.add(&user(1), now);
        assert!(!changes.is_current(&user(1), 0) && changes.is_current(&user(2), 0));
        assert!(changes.is_current(&user(1), changes.version));
    }

    #[test]
    fn changes_of_access_are_bounded_in_time_and_number() {
        let (mut changes, now) = (RecentChanges::default(), Instant::now());
        changes.add(&user(1), now);
        changes.add(&user(2), now + REMEMBERED);
        assert_eq!((changes.users.len(), changes.order.len()), (1, 1));
        assert!(!changes.is_current(&user(3), 0), "older than the memory");
        assert!(changes.is_current(&user(3), 1));
        for n in 0..CHANGES + 5 {
            changes.add(&user(n), now + REMEMBERED);
        }
        assert_eq!((changes.users.len(), changes.order.len()), (CHANGES, CHANGES));
    }
}
