//! Setting types: durations and sizes with units, redacted secrets and IP networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Duration, written with units: `10s`, `500ms`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Number of bytes, written with a unit: `64KiB`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanSize(pub u64);

/// Secret text, printed and written as `***`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretString(pub String);

/// IP address or network: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork(Ipv6Net);

/// Reads a value with a unit. A bare number is refused, because its unit would be a guess.
struct UnitVisitor<T> {
    parse: fn(&str) -> Option<T>,
    unit: &'static str,
    example: &'static str,
}

// === impl HumanDuration ===

impl HumanDuration {
    /// Returns a duration of whole seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> HumanDuration {
        HumanDuration(Duration::from_secs(secs))
    }

    /// Returns a duration of whole milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> HumanDuration {
        HumanDuration(Duration::from_millis(millis))
    }

    /// Returns the number of milliseconds, rounded down.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for HumanDuration {
    type Err = ();

    fn from_str(text: &str) -> Result<HumanDuration, ()> {
        humantime::parse_duration(text).map(HumanDuration).map_err(|_| ())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            parse: |text| text.parse().ok(),
            unit: "a duration with its unit (ms, s, m, h or days)",
            example: "\"5s\" or \"500ms\"",
        })
    }
}

// === impl HumanSize ===

impl HumanSize {
    /// Returns a number of KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> HumanSize {
        HumanSize(kib << 10)
    }

    /// Returns a number of MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> HumanSize {
        HumanSize(mib << 20)
    }

    /// Returns the size as a length in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit without a fraction, so that the text has exactly this value.
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let unit = units
            .into_iter()
            .find(|(_, bits)| self.0 != 0 && self.0.trailing_zeros() >= *bits);
        let (name, bits) = unit.unwrap_or(("B", 0));
        write!(f, "{}{name}", self.0 >> bits)
    }
}

impl FromStr for HumanSize {
    type Err = ();

    fn from_str(text: &str) -> Result<HumanSize, ()> {
        // Without a unit, the parser would assume bytes.
        if text.chars().all(|c| c.is_ascii_digit()) {
            return Err(());
        }
        let size: bytesize::ByteSize = text.parse().map_err(|_| ())?;
        Ok(HumanSize(size.as_u64()))
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HumanSize, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            parse: |text| text.parse().ok(),
            unit: "a size with its unit (B, KiB, MiB or GiB)",
            example: "\"64KiB\" or \"1MiB\"",
        })
    }
}

// === impl UnitVisitor ===

impl<T> UnitVisitor<T> {
    fn refuse<E: de::Error>(&self, value: impl fmt::Display) -> E {
        E::custom(format_args!(
            "{value} is not {}, for example {}",
            self.unit, self.example
        ))
    }
}

impl<T> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, for example {}", self.unit, self.example)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| self.refuse(format_args!("\"{text}\"")))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Err(self.refuse(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        Err(self.refuse(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<T, E> {
        Err(self.refuse(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        Err(self.refuse(value))
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

impl Serialize for SecretString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Settings are written for examples and reports only.
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
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
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .ok()?;
        // IPv4 networks are stored as IPv4-mapped IPv6 networks, whose prefix is 96 bits longer.
        let bits = network.prefix_len() + if network.addr().is_ipv4() { 96 } else { 0 };
        Ipv6Net::new(wide(network.addr()), bits).ok().map(IpNetwork)
    }

    /// Returns `true` if the network contains the address.
    #[must_use]
    pub fn holds(&self, addr: IpAddr) -> bool {
        self.0.contains(&wide(addr))
    }
}

/// Maps every address to IPv6, so that IPv4 and IPv4-mapped addresses are equal.
fn wide(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped(),
        IpAddr::V6(addr) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_they_are_printed() {
        for text in ["500ms", "1m 30s", "15m", "1h", "1day", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
        for text in ["1B", "1536B", "64KiB", "3MiB", "2GiB", "0B"] {
            assert_eq!(text.parse::<HumanSize>().unwrap().to_string(), text);
        }
        assert_eq!("64KB".parse(), Ok(HumanSize(64_000)));
    }

    #[test]
    fn a_number_without_a_unit_is_neither_a_duration_nor_a_size() {
        for text in ["5000", "5", "soon", "", "5 parsecs"] {
            assert_eq!(text.parse::<HumanDuration>(), Err(()), "{text}");
            assert_eq!(text.parse::<HumanSize>(), Err(()), "{text}");
        }
    }

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
