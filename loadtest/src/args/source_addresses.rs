//! Source addresses of connections, in text form.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Source addresses in text form: `127.0.0.2`, or a range `127.0.0.2-127.0.0.9`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SourceAddresses(pub(crate) Vec<IpAddr>);

/// Maximum size of one range; a larger one is probably a typing error.
const RANGE: u32 = 4096;

// === impl SourceAddresses ===

impl FromStr for SourceAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceAddresses, String> {
        let address = |text: &str| {
            text.parse::<IpAddr>()
                .map_err(|_| format!("{text:?} is not an address; example: 127.0.0.2 or 127.0.0.2-127.0.0.9"))
        };
        let Some((from, to)) = text.split_once('-') else {
            return Ok(SourceAddresses(vec![address(text)?]));
        };
        match (address(from)?, address(to)?) {
            (IpAddr::V4(from), IpAddr::V4(to)) if from <= to && u32::from(to) - u32::from(from) < RANGE => {
                let all = u32::from(from)..=u32::from(to);
                Ok(SourceAddresses(
                    all.map(|bits| Ipv4Addr::from(bits).into()).collect(),
                ))
            }
            _ => Err(format!(
                "{text:?} is not a range of at most {RANGE} IPv4 addresses, lowest first"
            )),
        }
    }
}
