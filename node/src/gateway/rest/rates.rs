//! How fast those may ask who are not known yet: a bucket per IP address, shared by all requests to this node. What users
//! may ask is in [`crate::session::rates`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Login;
use crate::session::rate_limit::Bucket;

/// Addresses that may have asked lately before those whose buckets are full again are forgotten.
const PRUNE: usize = 4_096;

/// The buckets of a node. Bounded by what the limits let through: a bucket is forgotten when it is full again.
#[derive(Debug)]
pub(in crate::gateway) struct LoginRates {
    per_second: u32,
    burst: u32,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    buckets: HashMap<IpAddr, Bucket>,
    /// Size at which the full ones are looked for.
    prune_at: usize,
}

// === impl LoginRates ===

impl LoginRates {
    /// Nobody has asked yet.
    #[must_use]
    pub(in crate::gateway) fn new(login: &Login) -> LoginRates {
        let addresses = Addresses {
            buckets: HashMap::new(),
            prune_at: PRUNE,
        };
        LoginRates {
            per_second: login.requests_per_s,
            burst: login.requests_burst,
            addresses: Mutex::new(addresses),
        }
    }

    /// Takes a token for a step of a login.
    ///
    /// # Errors
    /// How long until there is one.
    pub(in crate::gateway) fn take(&self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut addresses = self.addresses.lock();
        if addresses.buckets.len() >= addresses.prune_at {
            addresses.buckets.retain(|_, bucket| !bucket.is_full(now));
            addresses.prune_at = (addresses.buckets.len() * 2).max(PRUNE);
        }
        let new = || Bucket::new(self.per_second, self.burst, now);
        addresses.buckets.entry(ip).or_insert_with(new).take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (rates, now) = (LoginRates::new(&Login::default()), Instant::now());
        let ip = |i: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(i).unwrap()));
        for i in 0..PRUNE {
            assert_eq!(rates.take(ip(i), now), Ok(()));
        }
        assert_eq!(rates.take(ip(PRUNE), now + Duration::from_secs(600)), Ok(()));
        assert_eq!(rates.addresses.lock().buckets.len(), 1);
    }
}
