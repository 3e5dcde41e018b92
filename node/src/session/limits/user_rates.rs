//! Rate limits per user on this node: one account per user, which is shared by all connections and transports and
//! outlives them.
//!
//! A user who is connected at several nodes gets a part of the rate at each. The owner of the user's shard has the
//! sessions of all nodes and announces the number of nodes ([`UserRates::divide`]). That is soft state: a node without
//! a valid announcement grants the whole rate. No part is below an eighth. See
//! docs/decisions/0019-rates-per-user-cost-by-size.md.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::{CommandCost, CommandRate, ConversationId, UserId};

use super::rate_limit::{AbuseDetector, TokenBucket};
use super::typing_throttle::TypingThrottle;
use crate::config::Config;
use crate::presence::reporter::RateDivision;

/// Number of accounts from which on those that equal a new one are removed.
const PRUNE: usize = 4_096;
/// Maximum number of accounts of a node, of users with sessions here and of recent callers. Beyond it, users without an
/// account share one. No account is evicted to make room, because its user would start anew with a full one.
const MOST: usize = 262_144;
/// Maximum divisor of the rate: with sessions at more nodes, a user gets somewhat more than the rate in all.
const LEAST_PART: u32 = 8;

/// Typing notices per second and user: a client in several conversations types in one at a time.
pub(crate) const TYPING_PER_SECOND: u32 = 2;

/// Rates and bursts of one user.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Commands that change something, per second.
    sends: u32,
    sends_burst: u32,
    /// Commands that only read, per second.
    queries: u32,
    queries_burst: u32,
    /// A user above this multiple of a rate for this long is abusive.
    abuse_factor: u32,
    abuse_window: Duration,
    /// Interval between shown typing notices per conversation.
    typing_interval: Duration,
}

/// Accounts of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UserRates {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub struct Account {
    state: Mutex<State>,
}

#[derive(Debug)]
struct Inner {
    limits: RateLimits,
    most: usize,
    accounts: Mutex<Accounts>,
    /// Account shared by the users without one of their own.
    overflow: Arc<Account>,
}

#[derive(Debug)]
struct Accounts {
    by_user: HashMap<UserId, Arc<Account>>,
    /// Number of accounts from which on those that equal a new one are removed.
    prune_at: usize,
}

#[derive(Debug)]
struct State {
    changes: TokenBucket,
    queries: TokenBucket,
    changes_asked: AbuseDetector,
    queries_sent: AbuseDetector,
    typing: TypingThrottle,
    /// Number of nodes at which the user is connected, clamped to `LEAST_PART`.
    nodes: u32,
}

// === impl RateLimits ===

impl From<&Config> for RateLimits {
    fn from(config: &Config) -> RateLimits {
        RateLimits {
            sends: config.limits.sends_per_second,
            sends_burst: config.sends_burst(),
            queries: config.limits.queries_per_second,
            queries_burst: config.queries_burst(),
            abuse_factor: config.tuning.abuse_factor,
            abuse_window: config.tuning.abuse_window.0,
            typing_interval: config.tuning.typing_interval.0,
        }
    }
}

#[cfg(test)]
impl RateLimits {
    /// Returns the default limits with other ones for sends.
    pub(super) fn sends(sends: u32, sends_burst: u32) -> RateLimits {
        RateLimits {
            sends,
            sends_burst,
            ..RateLimits::from(&Config::default())
        }
    }
}

// === impl UserRates ===

impl UserRates {
    /// Creates a table without accounts.
    #[must_use]
    pub fn new(limits: RateLimits) -> UserRates {
        UserRates::bounded(limits, MOST)
    }

    fn bounded(limits: RateLimits, most: usize) -> UserRates {
        let accounts = Accounts {
            by_user: HashMap::new(),
            prune_at: PRUNE.min(most),
        };
        let inner = Inner {
            limits,
            most,
            accounts: Mutex::new(accounts),
            overflow: Arc::new(Account::new(&limits, Instant::now())),
        };
        UserRates {
            inner: Arc::new(inner),
        }
    }

    /// Returns the user's account. It is not removed while it is held.
    #[must_use]
    pub fn of(&self, user: &UserId, now: Instant) -> Arc<Account> {
        let Inner {
            limits,
            most,
            accounts,
            overflow,
        } = &*self.inner;
        let mut accounts = accounts.lock();
        let Accounts { by_user, prune_at } = &mut *accounts;
        if let Some(account) = by_user.get(user) {
            if Arc::strong_count(account) == 1 {
                // Without a session here the number of nodes is no longer announced: back to the whole rate.
                account.state.lock().divide(limits, 1, now);
            }
            return account.clone();
        }
        if by_user.len() >= *prune_at {
            // Only accounts that equal a new one, because a removed account starts again with a full bucket.
            by_user.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
            if by_user.len() >= *most {
                return overflow.clone();
            }
            // Doubled, so that the scan under the lock stays rare.
            *prune_at = (by_user.len() * 2).max(PRUNE).min(*most);
        }
        let account = Arc::new(Account::new(limits, now));
        by_user.insert(user.clone(), account.clone());
        account
    }
}

impl RateDivision for UserRates {
    /// Divides the rate by the number of nodes at which the user is connected. Users without an account here are
    /// ignored.
    fn divide(&self, user: &UserId, nodes: u32, now: Instant) {
        let known = self.inner.accounts.lock().by_user.get(user).cloned();
        if let Some(account) = known {
            account.state.lock().divide(&self.inner.limits, nodes, now);
        }
    }
}

// === impl Account ===

impl Account {
    fn new(limits: &RateLimits, now: Instant) -> Account {
        let abuse =
            |per_second| AbuseDetector::new(per_second, limits.abuse_factor, limits.abuse_window, now);
        let state = State {
            changes: TokenBucket::new(limits.sends, limits.sends_burst, now),
            queries: TokenBucket::new(limits.queries, limits.queries_burst, now),
            changes_asked: abuse(limits.sends),
            queries_sent: abuse(limits.queries),
            typing: TypingThrottle::new(limits.typing_interval, TYPING_PER_SECOND, now),
            nodes: 1,
        };
        Account {
            state: Mutex::new(state),
        }
    }

    /// Charges a command.
    ///
    /// # Errors
    /// Time until it can be charged.
    pub fn take(&self, cost: CommandCost, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock();
        match cost.rate {
            CommandRate::Changes => state.changes.take_many(cost.tokens, now),
            CommandRate::Queries => state.queries.take_many(cost.tokens, now),
            CommandRate::Free => Ok(()),
        }
    }

    /// Counts a command, refused or not. Returns true if the user exceeds the rate for too long.
    pub fn note(&self, rate: CommandRate, now: Instant) -> bool {
        let mut state = self.state.lock();
        match rate {
            CommandRate::Changes => state.changes_asked.note(now),
            CommandRate::Queries | CommandRate::Free => state.queries_sent.note(now),
        }
    }

    /// Returns true if the typing notice is to be forwarded; false if it is above the rate.
    pub fn typing(&self, conv: &ConversationId, on: bool, now: Instant) -> bool {
        self.state.lock().typing.admit(conv, on, now)
    }

    /// Returns true if the account equals a new one.
    fn is_idle(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state.changes.is_full(now)
            && state.queries.is_full(now)
            && state.typing.is_idle(now)
            && state.changes_asked.is_idle(now)
            && state.queries_sent.is_idle(now)
    }
}

// === impl State ===

impl State {
    fn divide(&mut self, limits: &RateLimits, nodes: u32, now: Instant) {
        let nodes = nodes.clamp(1, LEAST_PART);
        if std::mem::replace(&mut self.nodes, nodes) == nodes {
            return;
        }
        let part = |all: u32| f64::from(all.max(1)) / f64::from(nodes);
        let burst = |all: u32| part(all).max(1.0);
        self.changes
            .set_rate(part(limits.sends), burst(limits.sends_burst), now);
        self.queries
            .set_rate(part(limits.queries), burst(limits.queries_burst), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(i: usize) -> UserId {
        UserId::parse(&format!("u{i}")).unwrap()
    }

    fn rates(most: usize) -> UserRates {
        UserRates::bounded(RateLimits::sends(1, 2), most)
    }

    fn change(rates: &UserRates, i: usize, now: Instant) -> Result<(), Duration> {
        rates.of(&user(i), now).take(CommandCost::CHANGE, now)
    }

    #[test]
    fn rate_limits_are_per_user_with_separate_changes_and_queries() {
        let (rates, now) = (rates(MOST), Instant::now());
        assert_eq!([(); 2].map(|()| change(&rates, 1, now)), [Ok(()), Ok(())]);
        assert_eq!(change(&rates, 1, now), Err(Duration::from_secs(1)));
        assert_eq!(change(&rates, 2, now), Ok(()));
        assert_eq!(rates.of(&user(1), now).take(CommandCost::QUERY, now), Ok(()));
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
        assert_eq!(held.take(CommandCost::CHANGE, later), Ok(()));
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
    fn user_rate_is_divided_among_nodes_down_to_the_least_part() {
        let (rates, now) = (UserRates::new(RateLimits::sends(16, 16)), Instant::now());
        let (account, session) = (rates.of(&user(1), now), rates.of(&user(1), now));
        let second = |from: u32| {
            let at = now + Duration::from_secs(u64::from(from));
            (0..100)
                .filter(|_| account.take(CommandCost::CHANGE, at).is_ok())
                .count()
        };
        rates.divide(&user(1), 2, now);
        assert_eq!(second(0), 8);
        assert_eq!(second(1), 8);
        rates.divide(&user(1), 1_000, now + Duration::from_secs(1));
        assert_eq!(second(2), 2);
        rates.divide(&user(1), 1, now + Duration::from_secs(2));
        assert_eq!(second(3), 16);
        // Without a session here, no announcement reports that the other sessions have ended too.
        rates.divide(&user(1), 2, now + Duration::from_secs(3));
        drop((account, session));
        let account = rates.of(&user(1), now);
        let at = now + Duration::from_secs(10);
        let taken = (0..100).filter(|_| account.take(CommandCost::CHANGE, at).is_ok());
        assert_eq!(taken.count(), 16);
        rates.divide(&user(2), 9, now);
        assert_eq!(
            rates.inner.accounts.lock().by_user.len(),
            1,
            "who doesn't ask here has no account here"
        );
    }
}
