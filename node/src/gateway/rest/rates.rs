//! How fast a user may ask over HTTP: two buckets per user, shared by all requests to this node. Those who are not known
//! yet share one per IP address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::{ConvId, UserId};

use crate::config::{Limits, Login};
use crate::session::rate_limit::Bucket;
use crate::session::typing::Notes;

/// Users that may have asked lately before those whose buckets are full again are forgotten.
const PRUNE: usize = 4_096;

/// The buckets of a node. Bounded by what the limits let through: a bucket is forgotten when it is full again.
#[derive(Debug)]
pub(in crate::gateway) struct Rates {
    changes: Table<UserId>,
    questions: Table<UserId>,
    logins: Table<IpAddr>,
    typing: Mutex<HashMap<UserId, Notes>>,
    ephemeral_per_s: u32,
}

#[derive(Debug)]
struct Table<K> {
    per_second: u32,
    burst: u32,
    users: Mutex<Users<K>>,
}

#[derive(Debug)]
struct Users<K> {
    buckets: HashMap<K, Bucket>,
    /// Size at which the full ones are looked for.
    prune_at: usize,
}

// === impl Rates, Table ===

impl Rates {
    /// Nobody has asked yet.
    #[must_use]
    pub(in crate::gateway) fn new(limits: &Limits, login: &Login) -> Rates {
        Rates {
            changes: Table::new(limits.sends_per_s, limits.burst),
            questions: Table::new(limits.queries_per_s, limits.query_burst),
            logins: Table::new(login.requests_per_s, login.requests_burst),
            typing: Mutex::default(),
            ephemeral_per_s: limits.ephemeral_per_s,
        }
    }

    /// Whether the user's typing is shown, or dropped because it comes too often.
    pub(in crate::gateway) fn typing(
        &self,
        user: &UserId,
        conv: &ConvId,
        on: bool,
        every: Duration,
        now: Instant,
    ) -> bool {
        let mut typing = self.typing.lock();
        if typing.len() >= PRUNE {
            typing.retain(|_, notes| !notes.is_idle(now));
        }
        let notes = typing
            .entry(user.clone())
            .or_insert_with(|| Notes::new(every, self.ephemeral_per_s, now));
        notes.admit(conv, on, now)
    }

    /// Takes a token for a change.
    ///
    /// # Errors
    /// How long until there is one.
    pub(in crate::gateway) fn change(&self, user: &UserId, now: Instant) -> Result<(), Duration> {
        self.changes.take(user, now)
    }

    /// Takes a token for a question.
    ///
    /// # Errors
    /// How long until there is one.
    pub(in crate::gateway) fn question(&self, user: &UserId, now: Instant) -> Result<(), Duration> {
        self.questions.take(user, now)
    }

    /// Takes a token for a step of a login.
    ///
    /// # Errors
    /// How long until there is one.
    pub(in crate::gateway) fn login(&self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        self.logins.take(&ip, now)
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    fn new(per_second: u32, burst: u32) -> Table<K> {
        let users = Users {
            buckets: HashMap::new(),
            prune_at: PRUNE,
        };
        Table {
            per_second,
            burst,
            users: Mutex::new(users),
        }
    }

    fn take(&self, user: &K, now: Instant) -> Result<(), Duration> {
        let mut users = self.users.lock();
        if users.buckets.len() >= users.prune_at {
            users.buckets.retain(|_, bucket| !bucket.is_full(now));
            users.prune_at = (users.buckets.len() * 2).max(PRUNE);
        }
        if let Some(bucket) = users.buckets.get_mut(user) {
            return bucket.take(now);
        }
        let mut bucket = Bucket::new(self.per_second, self.burst, now);
        let taken = bucket.take(now);
        users.buckets.insert(user.clone(), bucket);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(i: usize) -> UserId {
        UserId::parse(&format!("u{i}")).unwrap()
    }

    #[test]
    fn each_user_has_a_bucket_and_changes_and_questions_have_their_own() {
        let limits = Limits {
            sends_per_s: 1,
            burst: 2,
            ..Limits::default()
        };
        let (rates, now) = (Rates::new(&limits, &Login::default()), Instant::now());
        assert_eq!([(); 2].map(|()| rates.change(&user(1), now)), [Ok(()), Ok(())]);
        assert_eq!(rates.change(&user(1), now), Err(Duration::from_secs(1)));
        assert_eq!(rates.change(&user(2), now), Ok(()));
        assert_eq!(rates.question(&user(1), now), Ok(()));
        assert_eq!(rates.change(&user(1), now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (rates, now) = (Rates::new(&Limits::default(), &Login::default()), Instant::now());
        for i in 0..PRUNE {
            assert_eq!(rates.change(&user(i), now), Ok(()));
        }
        assert_eq!(rates.change(&user(PRUNE), now + Duration::from_secs(60)), Ok(()));
        assert_eq!(rates.changes.users.lock().buckets.len(), 1);
    }
}
