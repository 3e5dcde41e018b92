//! Request rates of unauthenticated clients: one token bucket per IP address and node. Rates of users are in
//! [`crate::session::UserRates`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Tuning;
use crate::session::TokenBucket;

/// Number of buckets at which full ones are evicted for the first time.
const PRUNE: usize = 4_096;

/// Token buckets of a node, by address. The rates themselves bound their number, since full buckets are evicted.
#[derive(Debug)]
pub(in crate::gateway) struct LoginRates {
    per_second: u32,
    burst: u32,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    buckets: HashMap<IpAddr, TokenBucket>,
    /// Number of buckets at which full ones are evicted.
    prune_at: usize,
}

// === impl LoginRates ===

impl LoginRates {
    /// Creates the limiter without buckets.
    #[must_use]
    pub(in crate::gateway) fn new(tuning: &Tuning) -> LoginRates {
        let addresses = Addresses {
            buckets: HashMap::new(),
            prune_at: PRUNE,
        };
        LoginRates {
            per_second: tuning.login_requests_per_second,
            burst: tuning.login_requests_burst,
            addresses: Mutex::new(addresses),
        }
    }

    /// Takes a token for one login request.
    ///
    /// # Errors
    /// The time until a token is available.
    pub(in crate::gateway) fn take(&self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut addresses = self.addresses.lock();
        if addresses.buckets.len() >= addresses.prune_at {
            addresses.buckets.retain(|_, bucket| !bucket.is_full(now));
            // Doubled, so that the scan of all buckets costs a constant time per request.
            addresses.prune_at = (addresses.buckets.len() * 2).max(PRUNE);
        }
        let new = || TokenBucket::new(self.per_second, self.burst, now);
        addresses.buckets.entry(ip).or_insert_with(new).take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (rates, now) = (LoginRates::new(&Tuning::default()), Instant::now());
        let ip = |i: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(i).unwrap()));
        for i in 0..PRUNE {
            assert_eq!(rates.take(ip(i), now), Ok(()));
        }
        assert_eq!(rates.take(ip(PRUNE), now + Duration::from_secs(600)), Ok(()));
        assert_eq!(rates.addresses.lock().buckets.len(), 1);
    }
}
