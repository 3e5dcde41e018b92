//! Cache of verified device tokens by their hash: bounded in number and in time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::auth::TokenIdentity;

/// Time for which a verification holds on this node. A node that the revocation does not reach accepts the token for so
/// long.
pub(in crate::auth) const CACHE_TTL: Duration = Duration::from_secs(30);
/// Maximum number of entries. The oldest is evicted for another.
const ENTRIES: usize = 16_384;

/// SHA-256 hash of a token.
type TokenHash = [u8; 32];

/// Results of queries: the identity, or `None` for a token that was revoked.
#[derive(Default)]
pub(super) struct VerificationCache {
    results: HashMap<TokenHash, (Instant, Option<TokenIdentity>)>,
    /// Entries in the order of their time.
    order: VecDeque<(Instant, TokenHash)>,
}

// === impl VerificationCache ===

impl VerificationCache {
    /// Returns the result for a token; `None` without a recent one.
    pub(super) fn get(&mut self, hash: &TokenHash, now: Instant) -> Option<Option<TokenIdentity>> {
        self.evict(now, ENTRIES);
        let (at, identity) = self.results.get(hash)?;
        (now.saturating_duration_since(*at) < CACHE_TTL).then(|| identity.clone())
    }

    /// Stores the result of a query that began at `asked`.
    pub(super) fn put(&mut self, hash: TokenHash, identity: Option<TokenIdentity>, asked: Instant) {
        self.evict(asked, ENTRIES - 1);
        self.results.insert(hash, (asked, identity));
        self.order.push_back((asked, hash));
    }

    /// Removes what has expired, and the oldest entries beyond `most`.
    fn evict(&mut self, now: Instant, most: usize) {
        while let Some((at, hash)) = self.order.front()
            && (self.order.len() > most || now.saturating_duration_since(*at) >= CACHE_TTL)
        {
            // A later query of the same token has an entry of its own further behind.
            if self.results.get(hash).is_some_and(|(known, _)| known == at) {
                self.results.remove(hash);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::UserId;

    use super::*;

    fn identity(user: &str) -> Option<TokenIdentity> {
        Some(TokenIdentity {
            user: UserId::parse(user).unwrap(),
            expires: None,
            login: None,
            device: None,
        })
    }

    #[test]
    fn verification_expires_after_its_time() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        assert_eq!(cache.get(&[1; 32], now), None);
        cache.put([1; 32], identity("u"), now);
        cache.put([2; 32], None, now + Duration::from_secs(20));
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cache.get(&[1; 32], at(29)), Some(identity("u")));
        assert_eq!(cache.get(&[1; 32], at(30)), None);
        assert_eq!(cache.get(&[2; 32], at(49)), Some(None));
        assert_eq!(cache.get(&[2; 32], at(50)), None);
        assert!(cache.results.is_empty() && cache.order.is_empty());
    }

    #[test]
    fn later_verification_of_a_token_replaces_the_earlier() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        cache.put([1; 32], identity("u"), now);
        cache.put([1; 32], None, at(10));
        assert_eq!(cache.get(&[1; 32], at(35)), Some(None));
        assert_eq!(cache.get(&[1; 32], at(40)), None);
        assert!(cache.results.is_empty());
    }

    #[test]
    fn full_cache_evicts_the_oldest_verification() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        let hash = |n: usize| std::array::from_fn(|i| if i < 8 { n.to_be_bytes()[i] } else { 0 });
        for n in 0..=ENTRIES {
            cache.put(hash(n), None, now + Duration::from_micros(n as u64));
        }
        let end = now + Duration::from_secs(1);
        assert_eq!(cache.get(&hash(0), end), None);
        assert_eq!(cache.get(&hash(1), end), Some(None));
        assert_eq!(cache.results.len(), ENTRIES);
    }
}
