//! Setting types: durations, redacted secrets and IP networks.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Duration in milliseconds; its keys end in `_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Secret text, printed as `***`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretString(pub String);

/// IP address or network: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    first: u128,
    bits: u32,
}

// === impl Millis ===

impl Millis {
    /// Returns the value as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

// === impl SecretString ===

impl SecretString {
    /// Returns `true` if the secret is not set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shows whether the secret is set, which helps with a configuration, but never its text.
        f.write_str(if self.0.is_empty() { "unset" } else { "***" })
    }
}

// === impl IpNetwork ===

impl IpNetwork {
    /// Parses an address or network; `None` if the text is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<IpNetwork> {
        let (addr, bits) = text
            .split_once('/')
            .map_or((text, None), |(addr, bits)| (addr, Some(bits)));
        let addr: IpAddr = addr.parse().ok()?;
        // IPv4 networks are stored as IPv4-mapped IPv6 networks, whose prefix is 96 bits longer.
        let (most, skipped) = if addr.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then(|| IpNetwork {
            first: wide(addr) & mask(bits + skipped),
            bits: bits + skipped,
        })
    }

    /// Returns `true` if the network contains the address.
    #[must_use]
    pub fn holds(&self, addr: IpAddr) -> bool {
        wide(addr) & mask(self.bits) == self.first
    }
}

/// Maps every address to IPv6, so that IPv4 and IPv4-mapped addresses are equal.
fn wide(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn mask(bits: u32) -> u128 {
    // A prefix of zero bits shifts by 128, which `<<` does not support.
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        let holds =
            |network: &str, addr: &str| IpNetwork::parse(network).unwrap().holds(addr.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
        assert!(
            holds("10.0.0.0/8", "::ffff:10.1.2.3"),
            "an IPv4 address on an IPv6 socket"
        );
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "8.8.8.8"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/", "::/129"] {
            assert_eq!(IpNetwork::parse(bad), None, "{bad}");
        }
    }
}
