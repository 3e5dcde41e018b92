//! Request rates of API keys: one token bucket per key and node, apart from the rates of users.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::session::TokenBucket;
use crate::state_machine::ApiKeyId;

/// Number of buckets at which full ones are removed. Only verified keys have buckets, so those of revoked keys are what
/// exceeds the number of keys.
const PRUNE: usize = 256;
/// Burst of a key in seconds of its rate.
const BURST_S: u32 = 3;

/// Token buckets of a node, by key.
#[derive(Debug)]
pub(in crate::gateway) struct KeyRates {
    per_second: u32,
    buckets: Mutex<HashMap<ApiKeyId, TokenBucket>>,
}

// === impl KeyRates ===

impl KeyRates {
    #[must_use]
    pub(in crate::gateway) fn new(per_second: u32) -> KeyRates {
        KeyRates {
            per_second,
            buckets: Mutex::default(),
        }
    }

    /// Charges a request with this number of items.
    ///
    /// # Errors
    /// The time until the request is possible.
    pub(super) fn take(&self, key: ApiKeyId, items: u32, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= PRUNE {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let new = || TokenBucket::new(self.per_second, self.per_second.saturating_mul(BURST_S), now);
        buckets.entry(key).or_insert_with(new).take_many(items, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_key_has_a_rate_of_its_own() {
        let (rates, now) = (KeyRates::new(10), Instant::now());
        let (one, other) = (ApiKeyId([1; 10]), ApiKeyId([2; 10]));
        assert_eq!(rates.take(one, 30, now), Ok(()));
        assert_eq!(rates.take(one, 5, now), Err(Duration::from_millis(500)));
        assert_eq!(rates.take(other, 5, now), Ok(()));
        assert_eq!(rates.take(one, 5, now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn full_buckets_of_api_keys_are_removed() {
        let (rates, now) = (KeyRates::new(200), Instant::now());
        for i in 0..PRUNE {
            let id = std::array::from_fn(|at| if at < 8 { i.to_be_bytes()[at] } else { 0 });
            assert_eq!(rates.take(ApiKeyId(id), 1, now), Ok(()));
        }
        assert_eq!(
            rates.take(ApiKeyId([9; 10]), 1, now + Duration::from_secs(60)),
            Ok(())
        );
        assert_eq!(rates.buckets.lock().len(), 1);
    }
}
