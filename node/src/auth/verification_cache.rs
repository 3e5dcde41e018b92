//! Cache of answers of the owners of users' shards, as to device tokens and the access of users: bounded in number and in
//! time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Time for which an answer holds on this node. A node that the revocation does not reach accepts the token for so long.
pub(super) const CACHE_TTL: Duration = Duration::from_secs(30);
/// Maximum number of entries. The oldest is evicted for another.
const ENTRIES: usize = 16_384;

/// Results of queries by their key.
pub(super) struct VerificationCache<K, V> {
    results: HashMap<K, (Instant, V)>,
    /// Entries in the order of their time.
    order: VecDeque<(Instant, K)>,
}

// === impl VerificationCache ===

impl<K, V> Default for VerificationCache<K, V> {
    fn default() -> VerificationCache<K, V> {
        VerificationCache {
            results: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> VerificationCache<K, V> {
    /// Returns the result for a key; `None` without a recent one.
    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        self.evict(now, ENTRIES);
        let (at, result) = self.results.get(key)?;
        (now.saturating_duration_since(*at) < CACHE_TTL).then(|| result.clone())
    }

    /// Stores the result of a query that began at `asked`.
    pub(super) fn put(&mut self, key: K, result: V, asked: Instant) {
        self.evict(asked, ENTRIES - 1);
        self.results.insert(key.clone(), (asked, result));
        self.order.push_back((asked, key));
    }

    /// Removes the result for a key.
    pub(super) fn remove(&mut self, key: &K) {
        self.results.remove(key);
    }

    /// Removes what has expired, and the oldest entries beyond `most`.
    fn evict(&mut self, now: Instant, most: usize) {
        while let Some((at, key)) = self.order.front()
            && (self.order.len() > most || now.saturating_duration_since(*at) >= CACHE_TTL)
        {
            // A later query with the same key has an entry of its own further behind.
            if self.results.get(key).is_some_and(|(known, _)| known == at) {
                self.results.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_expires_after_its_time() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        assert_eq!(cache.get(&[1; 32], now), None);
        cache.put([1; 32], Some("u"), now);
        cache.put([2; 32], None, now + Duration::from_secs(20));
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cache.get(&[1; 32], at(29)), Some(Some("u")));
        assert_eq!(cache.get(&[1; 32], at(30)), None);
        assert_eq!(cache.get(&[2; 32], at(49)), Some(None));
        assert_eq!(cache.get(&[2; 32], at(50)), None);
        assert!(cache.results.is_empty() && cache.order.is_empty());
    }

    #[test]
    fn later_verification_of_a_token_replaces_the_earlier() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        cache.put([1; 32], Some("u"), now);
        cache.put([1; 32], None, at(10));
        assert_eq!(cache.get(&[1; 32], at(35)), Some(None));
        assert_eq!(cache.get(&[1; 32], at(40)), None);
        assert!(cache.results.is_empty());
    }

    #[test]
    fn full_cache_evicts_the_oldest_verification() {
        let (mut cache, now) = (VerificationCache::default(), Instant::now());
        let hash =
            |n: usize| -> [u8; 32] { std::array::from_fn(|i| if i < 8 { n.to_be_bytes()[i] } else { 0 }) };
        for n in 0..=ENTRIES {
            cache.put(hash(n), None::<&str>, now + Duration::from_micros(n as u64));
        }
        let end = now + Duration::from_secs(1);
        assert_eq!(cache.get(&hash(0), end), None);
        assert_eq!(cache.get(&hash(1), end), Some(None));
        assert_eq!(cache.results.len(), ENTRIES);
    }
}
