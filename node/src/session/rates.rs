//! How fast a user may ask on this node: one account per user, for all connections and transports, that outlives them.
//!
//! A user who is connected at several nodes gets a part of the rate at each: the owner of the user's shard, which knows
//! where the sessions are, says at how many ([`Rates::divide`]). That is coarse and soft: a node that was told nothing, or
//! doubts what it was told, gives the whole rate, and no part is below [`LEAST_PART`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::{ConvId, Cost, Rate, UserId};

use super::rate_limit::{Abuse, Bucket};
use super::typing::Notes;
use crate::config::{Limits, Presence};

/// Accounts after which those that are as good as new are forgotten.
const PRUNE: usize = 4_096;
/// Accounts of a node at most, of users whose sessions are here and of those who asked within the last seconds. Whoever
/// comes when there are as many shares one with all others who do: no account is given up to make room, because a user
/// could have an own one made anew by that.
const MOST: usize = 262_144;
/// The least part of the rate that a node gives: with sessions at more nodes a user gets somewhat more in all.
const LEAST_PART: u32 = 8;

/// The accounts of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rates {
    inner: Arc<Inner>,
}

/// A user's account.
#[derive(Debug)]
pub struct Account {
    state: Mutex<State>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    typing_every: Duration,
    most: usize,
    accounts: Mutex<Accounts>,
    /// For those who find no room.
    crowded: Arc<Account>,
}

#[derive(Debug)]
struct Accounts {
    by_user: HashMap<UserId, Arc<Account>>,
    /// Size at which those that are as good as new are looked for.
    prune_at: usize,
}

#[derive(Debug)]
struct State {
    changes: Bucket,
    questions: Bucket,
    changes_asked: Abuse,
    questions_asked: Abuse,
    typing: Notes,
    /// At how many nodes the user is connected.
    nodes: u32,
}

// === impl Rates ===

impl Rates {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(limits: &Limits, presence: &Presence) -> Rates {
        Rates::bounded(limits, presence, MOST)
    }

    fn bounded(limits: &Limits, presence: &Presence, most: usize) -> Rates {
        let typing_every = presence.typing_ms.duration();
        let accounts = Accounts {
            by_user: HashMap::new(),
            prune_at: PRUNE.min(most),
        };
        let inner = Inner {
            limits: limits.clone(),
            typing_every,
            most,
            accounts: Mutex::new(accounts),
            crowded: Arc::new(Account::new(limits, typing_every, Instant::now())),
        };
        Rates {
            inner: Arc::new(inner),
        }
    }

    /// The user's account. Whoever holds it keeps it.
    #[must_use]
    pub fn of(&self, user: &UserId, now: Instant) -> Arc<Account> {
        let Inner {
            limits,
            typing_every,
            most,
            accounts,
            crowded,
        } = &*self.inner;
        let mut accounts = accounts.lock();
        let Accounts { by_user, prune_at } = &mut *accounts;
        if let Some(account) = by_user.get(user) {
            if Arc::strong_count(account) == 1 {
                // Without a session here nobody says any more at how many nodes the user is connected.
                account.state.lock().divide(limits, 1, now);
            }
            return account.clone();
        }
        if by_user.len() >= *prune_at {
            by_user.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
            if by_user.len() >= *most {
                return crowded.clone();
            }
            *prune_at = (by_user.len() * 2).max(PRUNE).min(*most);
        }
        let account = Arc::new(Account::new(limits, *typing_every, now));
        by_user.insert(user.clone(), account.clone());
        account
    }

    /// The user is connected at so many nodes: this one gives a part of the rate. Concerns only those who ask here.
    pub(crate) fn divide(&self, user: &UserId, nodes: u32, now: Instant) {
        let known = self.inner.accounts.lock().by_user.get(user).cloned();
        if let Some(account) = known {
            account.state.lock().divide(&self.inner.limits, nodes, now);
        }
    }
}

// === impl Account ===

impl Account {
    fn new(limits: &Limits, typing_every: Duration, now: Instant) -> Account {
        let abuse = |per_second| Abuse::new(per_second, limits.abuse_factor, limits.abuse_ms.duration(), now);
        let state = State {
            changes: Bucket::new(limits.sends_per_s, limits.burst, now),
            questions: Bucket::new(limits.queries_per_s, limits.query_burst, now),
            changes_asked: abuse(limits.sends_per_s),
            questions_asked: abuse(limits.queries_per_s),
            typing: Notes::new(typing_every, limits.ephemeral_per_s, now),
            nodes: 1,
        };
        Account {
            state: Mutex::new(state),
        }
    }

    /// Pays for a command.
    ///
    /// # Errors
    /// How long until it can be paid for.
    pub fn take(&self, cost: Cost, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock();
        match cost.rate {
            Rate::Changes => state.changes.take_many(cost.tokens, now),
            Rate::Questions => state.questions.take_many(cost.tokens, now),
            Rate::Free => Ok(()),
        }
    }

    /// Notes that something was asked, whether it is refused or not; whether it is one too many.
    pub fn note(&self, rate: Rate, now: Instant) -> bool {
        let mut state = self.state.lock();
        match rate {
            Rate::Changes => state.changes_asked.note(now),
            Rate::Questions | Rate::Free => state.questions_asked.note(now),
        }
    }

    /// Whether the user's typing is shown, or dropped because it comes too often.
    pub fn typing(&self, conv: &ConvId, on: bool, now: Instant) -> bool {
        self.state.lock().typing.admit(conv, on, now)
    }

    /// Whether it is as good as a new one.
    fn is_idle(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state.changes.is_full(now)
            && state.questions.is_full(now)
            && state.typing.is_idle(now)
            && state.changes_asked.is_idle(now)
            && state.questions_asked.is_idle(now)
    }
}

// === impl State ===

impl State {
    fn divide(&mut self, limits: &Limits, nodes: u32, now: Instant) {
        let nodes = nodes.clamp(1, LEAST_PART);
        if std::mem::replace(&mut self.nodes, nodes) == nodes {
            return;
        }
        let part = |all: u32| f64::from(all.max(1)) / f64::from(nodes);
        let burst = |all: u32| part(all).max(1.0);
        self.changes
            .set_rate(part(limits.sends_per_s), burst(limits.burst), now);
        self.questions
            .set_rate(part(limits.queries_per_s), burst(limits.query_burst), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(i: usize) -> UserId {
        UserId::parse(&format!("u{i}")).unwrap()
    }

    fn rates(most: usize) -> Rates {
        let limits = Limits {
            sends_per_s: 1,
            burst: 2,
            ..Limits::default()
        };
        Rates::bounded(&limits, &Presence::default(), most)
    }

    fn change(rates: &Rates, i: usize, now: Instant) -> Result<(), Duration> {
        rates.of(&user(i), now).take(Cost::CHANGE, now)
    }

    #[test]
    fn each_user_has_an_account_and_changes_and_questions_have_their_own() {
        let (rates, now) = (rates(MOST), Instant::now());
        assert_eq!([(); 2].map(|()| change(&rates, 1, now)), [Ok(()), Ok(())]);
        assert_eq!(change(&rates, 1, now), Err(Duration::from_secs(1)));
        assert_eq!(change(&rates, 2, now), Ok(()));
        assert_eq!(rates.of(&user(1), now).take(Cost::QUESTION, now), Ok(()));
        assert_eq!(change(&rates, 1, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn accounts_that_are_as_good_as_new_are_forgotten_and_no_others() {
        let (rates, now) = (rates(MOST), Instant::now());
        let held = rates.of(&user(0), now);
        for i in 0..PRUNE {
            assert_eq!(change(&rates, i, now), Ok(()));
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(held.take(Cost::CHANGE, later), Ok(()));
        assert_eq!(change(&rates, PRUNE, later), Ok(()));
        assert_eq!(
            rates.inner.accounts.lock().by_user.len(),
            2,
            "the one that is held, and the new one"
        );
        assert!(Arc::ptr_eq(&held, &rates.of(&user(0), later)));
    }

    #[test]
    fn who_finds_no_room_shares_with_all_others_who_find_none() {
        let (rates, now) = (rates(3), Instant::now());
        for i in 0..3 {
            assert_eq!([(); 2].map(|()| change(&rates, i, now)), [Ok(()), Ok(())]);
        }
        assert_eq!(change(&rates, 3, now), Ok(()));
        assert_eq!(change(&rates, 4, now), Ok(()));
        assert!(change(&rates, 5, now).is_err(), "two in all");
        assert!(change(&rates, 0, now).is_err(), "nobody's was given up for it");
        assert_eq!(rates.inner.accounts.lock().by_user.len(), 3);
    }

    #[test]
    fn a_user_at_two_nodes_gets_half_at_each_and_never_less_than_the_least_part() {
        let limits = Limits {
            sends_per_s: 16,
            burst: 16,
            ..Limits::default()
        };
        let (rates, now) = (Rates::new(&limits, &Presence::default()), Instant::now());
        let (account, session) = (rates.of(&user(1), now), rates.of(&user(1), now));
        let second = |from: u32| {
            let at = now + Duration::from_secs(u64::from(from));
            (0..100)
                .filter(|_| account.take(Cost::CHANGE, at).is_ok())
                .count()
        };
        rates.divide(&user(1), 2, now);
        assert_eq!(second(0), 8);
        assert_eq!(second(1), 8);
        rates.divide(&user(1), 1_000, now + Duration::from_secs(1));
        assert_eq!(second(2), 2);
        rates.divide(&user(1), 1, now + Duration::from_secs(2));
        assert_eq!(second(3), 16);
        // The last session is gone, and with it whoever could say that the others are gone too.
        rates.divide(&user(1), 2, now + Duration::from_secs(3));
        drop((account, session));
        let account = rates.of(&user(1), now);
        let at = now + Duration::from_secs(10);
        let taken = (0..100).filter(|_| account.take(Cost::CHANGE, at).is_ok());
        assert_eq!(taken.count(), 16);
        rates.divide(&user(2), 9, now);
        assert_eq!(
            rates.inner.accounts.lock().by_user.len(),
            1,
            "who doesn't ask here has no account here"
        );
    }
}
