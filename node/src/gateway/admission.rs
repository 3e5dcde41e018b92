//! Access checks before a session or request is served: browser origin, bearer token and client address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, ORIGIN, X_FORWARDED_FOR};

use protocol::ErrorCode;

use super::problem::Problem;
use crate::auth::TokenError;
use crate::config::{IpNetwork, ServerConfig};
use crate::session::{NodeState, WorkerContext};

/// Checks that the node accepts new sessions, and that a browser page of the request's origin may open one.
///
/// # Errors
/// Refusal of the request.
pub(super) fn may_open_session(worker: &WorkerContext, headers: &HeaderMap) -> Result<(), Problem> {
    match worker.order() {
        NodeState::Serve => {}
        // New sessions are refused in lame-duck mode already: the node would soon close them.
        NodeState::HandOver | NodeState::Drain => {
            return Err(Problem::new(ErrorCode::Unavailable, "the node is draining"));
        }
        NodeState::Isolated => {
            return Err(Problem::new(ErrorCode::Unavailable, "the node has lost quorum"));
        }
    }
    if !origin_allowed(headers, &worker.config.server) {
        let msg = "the origin of this page is not allowed to open sessions";
        return Err(Problem::new(ErrorCode::Forbidden, msg));
    }
    Ok(())
}

/// Returns `true` if a browser page of the request's origin may open a session. Requests without `Origin` come from
/// other clients and pass.
#[must_use]
pub fn origin_allowed(headers: &HeaderMap, settings: &ServerConfig) -> bool {
    // The check protects browser users from foreign pages. A client that forges headers gains nothing without a token.
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.as_bytes();
    settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin))
}

/// Returns the token of an `Authorization: Bearer` header, or `None` without such a header.
///
/// # Errors
/// [`TokenError::Invalid`] if the header is present with another scheme or is not visible ASCII.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| TokenError::Invalid)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(TokenError::Invalid),
    }
}

/// Returns the client address of a request: the TCP peer, or behind trusted proxies the last `X-Forwarded-For` address
/// that is no trusted proxy.
///
/// IPv6 addresses are reduced to their /64 network, the usual allocation of one customer.
#[must_use]
pub fn client(headers: &HeaderMap, peer: Option<IpAddr>, settings: &ServerConfig) -> IpAddr {
    let proxies = proxies(settings);
    let trusted = |ip: IpAddr| proxies.iter().any(|proxy| proxy.holds(ip));
    // Each proxy appends the address of its peer. Reading from the end, and only past trusted proxies, ignores entries
    // that the client forged.
    let forwarded = headers.get_all(X_FORWARDED_FOR);
    let forwarded: Vec<&str> = forwarded.filter_map(|value| value.to_str().ok()).collect();
    let forwarded = forwarded.iter().flat_map(|value| value.split(',')).map(str::trim);
    let mut forwarded = forwarded.collect::<Vec<_>>().into_iter().rev();
    // Connections without a known peer share one address, so that a limit still applies to them.
    let mut client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    while trusted(client) {
        match forwarded.next().map(str::parse) {
            Some(Ok(ip)) => client = ip,
            // The list ended or is malformed: the last known proxy counts as the client.
            _ => break,
        }
    }
    counted(client)
}

/// Returns the address that a connection is counted under, or `None` for a trusted proxy, whose connections belong to
/// many clients.
#[must_use]
pub fn direct(peer: IpAddr, settings: &ServerConfig) -> Option<IpAddr> {
    let proxied = proxies(settings).iter().any(|proxy| proxy.holds(peer));
    (!proxied).then(|| counted(peer))
}

fn proxies(settings: &ServerConfig) -> Vec<IpNetwork> {
    let proxies = settings.trusted_proxies.iter();
    proxies.filter_map(|proxy| IpNetwork::parse(proxy)).collect()
}

/// Normalizes an address for counting: IPv4-mapped IPv6 becomes IPv4, other IPv6 its /64 network.
fn counted(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn with(name: actix_web::http::header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn a_browser_page_from_elsewhere_is_refused() {
        let allowed_origins = vec!["https://chat.example.org".to_owned()];
        let settings = ServerConfig {
            allowed_origins,
            ..ServerConfig::default()
        };
        assert!(origin_allowed(&HeaderMap::new(), &settings));
        assert!(origin_allowed(
            &with(ORIGIN, "https://chat.example.org"),
            &settings
        ));
        assert!(!origin_allowed(
            &with(ORIGIN, "https://chat.example.org.evil.net"),
            &settings
        ));
        assert!(!origin_allowed(&with(ORIGIN, "null"), &settings));
    }

    #[test]
    fn forwarded_client_address_counts_only_from_a_trusted_proxy() {
        let settings = ServerConfig {
            trusted_proxies: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
            ..ServerConfig::default()
        };
        let client = |peer: &str, forwarded: &'static [&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            client(&headers, Some(peer.parse().unwrap()), &settings).to_string()
        };
        assert_eq!(client("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "not a proxy");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("::1", &["198.51.100.7"]), "198.51.100.7");
        // An entry that the client forged precedes those of the proxies.
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(
            client("2001:db8::1:2:3:4", &[]),
            "2001:db8::",
            "a network of IPv6"
        );
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
        let direct = |peer: &str| direct(peer.parse().unwrap(), &settings);
        assert_eq!(direct("10.1.2.3"), None);
        assert_eq!(direct("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(direct("2001:db8::1:2:3:4"), Some("2001:db8::".parse().unwrap()));
    }
}
